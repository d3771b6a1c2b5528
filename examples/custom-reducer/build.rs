//! Puts libtorch's folder into the run path of the executables (what `tlc` with the feature `collect` is linked to).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(lib_dir) = std::env::var("DEP_TLC_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{lib_dir}");
    }
}
