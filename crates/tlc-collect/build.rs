//! Compiles the hooks for TorchScript, and lets whatever links this crate find libtorch at run time without
//! `LD_LIBRARY_PATH`.
//!
//! torch-sys tells its direct dependents where libtorch lies. We put that folder into the run path
//! of our own test binaries, and pass it on: a package that builds an executable repeats the three
//! lines of `crates/tlc/build.rs`, because cargo lets a build script set linker flags of its own
//! package only.

use std::path::Path;

const HOOKS: &str = "cpp/torchscript.cpp";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={HOOKS}");
    println!("cargo::rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    let Ok(lib_dir) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib_dir}");
    println!("cargo::metadata=libtorch_lib={lib_dir}");
    let include = Path::new(&lib_dir).with_file_name("include");
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .file(HOOKS)
        .compile("tlc_torchscript");
}
