//! Lets whatever links this crate find libtorch at run time without `LD_LIBRARY_PATH`.
//!
//! torch-sys tells its direct dependents where libtorch lies. We put that folder into the run path
//! of our own test binaries, and pass it on: a package that builds an executable repeats the three
//! lines of `crates/tlc/build.rs`, because cargo lets a build script set linker flags of its own
//! package only.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(lib_dir) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{lib_dir}");
        println!("cargo::metadata=libtorch_lib={lib_dir}");
    }
}
