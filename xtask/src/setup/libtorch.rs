//! libtorch for the CPU, assembled from PyPI's wheels.
//!
//! The wheel is built for CUDA, but its CPU library works alone: what is kept is `libtorch_cpu.so`,
//! what that is linked to (two small CUDA libraries of their own wheels among them), the headers, and
//! in place of the wheel's `libtorch.so`, which needs all of CUDA, an empty one. torch-sys then builds
//! for the CPU.
//!
//! Wheels are pinned by name and digest. pip tells where a wheel is; half a wheel, also that of a killed set-up, is
//! then continued in mid-file, which pip does not do. Where that fails, pip fetches the wheel. The folder appears by
//! one rename, with a list of its files and sizes.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use zip::ZipArchive;

use crate::cargo::finish;
use crate::places;

const WHEELS: [(&str, &str); 3] = [
    (
        "torch-2.13.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "796633c4cdf0fe2cdced72d8f88f22e73dbcfce83132763162f6d4bff13b820b",
    ),
    (
        "nvidia_cuda_runtime-13.5.37-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "df2b79a8852f10d1fef8c848489c49eebb5754051bf870202a862831412b179d",
    ),
    (
        "nvidia_cuda_cupti-13.5.25-py3-none-manylinux_2_25_x86_64.whl",
        "9dcca41c12a734192b14e7128ae116bc9ce1b9da686e2ebf48ae7a4415f76650",
    ),
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
        WHEELS.iter().map(|(wheel, digest)| fetch(&downloads, wheel, digest)).collect::<Result<_>>()?;
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

/// The path of `wheel`, downloaded unless it is there.
fn fetch(downloads: &Path, wheel: &str, digest: &str) -> Result<PathBuf> {
    let path = downloads.join(wheel);
    if path.exists() {
        if digest_of(&path)? == digest {
            return Ok(path);
        }
        println!("{} is damaged and fetched again", path.display());
        fs::remove_file(&path)?;
    }
    let mut parts = wheel.split('-');
    let (Some(name), Some(version)) = (parts.next(), parts.next()) else { bail!("{wheel} is not a wheel's name") };
    let requirements = downloads.join("requirements.txt");
    fs::write(&requirements, format!("{name}=={version} --hash=sha256:{digest}\n"))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download"]).args(WHEEL_TAGS);
    pip.arg("--dest").arg(downloads).arg("--requirement").arg(&requirements);
    if !fetch_resumably(&mut pip, &path, digest)? {
        println!("{wheel} cannot be fetched in parts; pip fetches it whole");
        // pip moves a wheel into the folder when it is complete and verified.
        finish(&mut pip)
            .context("pip could not fetch libtorch; `python3 -m pip --version` tells whether pip is there")?;
    }
    if !path.exists() {
        bail!("pip reported success, but there is no {}", path.display());
    }
    Ok(path)
}

/// Downloads to `path` by way of a `.partial` file that the next call continues; false if that does not work here.
fn fetch_resumably(pip: &mut Command, path: &Path, digest: &str) -> Result<bool> {
    let partial = path.with_added_extension("partial");
    let Some(url) = url_of(path, pip)? else { return Ok(false) };
    // What was kept may be damaged: then once more from the start.
    for _ in 0..2 {
        let mut resume = Command::new("python3");
        resume.args(["-c", include_str!("resume.py"), &url]).arg(&partial);
        if !resume.status().is_ok_and(|status| status.success()) {
            return Ok(false);
        }
        if digest_of(&partial)? == digest {
            fs::rename(&partial, path)?;
            return Ok(true);
        }
        println!("{} is damaged and fetched again", partial.display());
        fs::remove_file(&partial)?;
    }
    Ok(false)
}

/// Where pip would fetch the wheel from: its log says so before it starts, and then it is stopped.
fn url_of(wheel: &Path, pip: &mut Command) -> Result<Option<String>> {
    let name = wheel.file_name().context("a wheel has a name")?.to_string_lossy();
    let mut verbose = Command::new(pip.get_program());
    verbose.args(pip.get_args()).arg("-vv").stdout(Stdio::piped()).stderr(Stdio::null());
    let Ok(mut child) = verbose.spawn() else { return Ok(None) };
    let log = BufReader::new(child.stdout.take().context("the log is a pipe")?);
    let links = log.lines().map_while(Result::ok).filter_map(|line| {
        let (_, link) = line.split_once("Found link ")?;
        let url = link.split_whitespace().next()?;
        let url = url.split('#').next()?;
        (url.rsplit('/').next()? == name).then(|| url.to_owned())
    });
    // This closes the pipe, at which pip cleans up and ends, whereas a kill would leave its temporary folders.
    let url = links.take(1).last();
    child.wait()?;
    Ok(url)
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
