//! Images in a folder, of any size and format, decoded batch by batch.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use image::ImageReader;
use tch::Tensor;
use tlc_collect::{Batch, CollectError, Dataset};
use tlc_core::LineageInput;

use super::{DatasetError, Preparation};

/// Images in a folder. Those of sub-folders have the sub-folder's name as their class.
#[derive(Debug)]
pub struct ImageFolder {
    folder: PathBuf,
    files: Vec<PathBuf>,
    labels: Option<Vec<i64>>,
    class_names: Vec<String>,
    preparation: Preparation,
    table: Option<LineageInput>,
}

impl ImageFolder {
    /// The images of `folder`, sorted by path, and the files that are none: for each why.
    ///
    /// Every file's header is read. There are labels if all images are in sub-folders.
    ///
    /// # Errors
    /// A folder that cannot be read or holds no image; a side that is 0 or above 8,192 pixels.
    pub fn read(folder: &Path, preparation: Preparation) -> Result<(Self, Vec<(PathBuf, String)>), DatasetError> {
        preparation.check().map_err(|reason| DatasetError::Format { path: folder.to_owned(), reason })?;
        let mut files = Vec::new();
        list(folder, &mut files)?;
        files.sort();
        let mut skipped = Vec::new();
        files.retain(|file| match dimensions(file) {
            Ok(_) => true,
            Err(reason) => {
                skipped.push((file.clone(), reason));
                false
            }
        });
        if files.is_empty() {
            let expected = "images such as .png and .jpg, directly or in one sub-folder per class";
            return Err(DatasetError::Unknown { folder: folder.to_owned(), expected });
        }
        let class_of = |file: &PathBuf| {
            let below = file.strip_prefix(folder).ok()?;
            let first = below.components().next()?.as_os_str().to_string_lossy().into_owned();
            (below.components().count() > 1).then_some(first)
        };
        let classes: Option<Vec<String>> = files.iter().map(class_of).collect();
        let (class_names, labels) = classes.map(|classes| numbered(&classes)).unzip();
        let class_names = class_names.unwrap_or_default();
        let folder = folder.to_owned();
        Ok((Self { folder, files, labels, class_names, preparation, table: None }, skipped))
    }

    /// With the classes that a CSV file with the columns `file` and `label` gives, whatever the sub-folders are. Files
    /// are relative to the folder, or absolute; rows of other files are passed over.
    ///
    /// # Errors
    /// A file that cannot be read or lacks a column; an image without a row, or with two that differ.
    pub fn with_labels_of(mut self, csv: &Path) -> Result<Self, DatasetError> {
        let refused = |reason: String| DatasetError::Format { path: csv.to_owned(), reason };
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .from_path(csv)
            .map_err(|error| refused(error.to_string()))?;
        let mut classes: HashMap<PathBuf, String> = HashMap::new();
        for row in reader.deserialize() {
            let Labelled { file, label } = row.map_err(|error| refused(error.to_string()))?;
            match classes.insert(self.folder.join(&file), label.clone()) {
                Some(other) if other != label => {
                    return Err(refused(format!("{} is both {other:?} and {label:?}", file.display())));
                }
                _ => {}
            }
        }
        let missing: Vec<String> = self
            .files
            .iter()
            .filter(|file| !classes.contains_key(*file))
            .map(|file| file.display().to_string())
            .collect();
        if let Some(first) = missing.first() {
            return Err(refused(format!(
                "{} of {} images have no row, such as {first}",
                missing.len(),
                self.files.len()
            )));
        }
        let of_files: Vec<String> = self.files.iter().map(|file| classes[file].clone()).collect();
        let (class_names, labels) = numbered(&of_files);
        (self.class_names, self.labels) = (class_names, Some(labels));
        Ok(self)
    }

    /// The files, in the order of their numbers.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Class indices, `(n,)`, if the images are in sub-folders.
    pub fn labels(&self) -> Option<&[i64]> {
        self.labels.as_deref()
    }

    /// The names of the sub-folders, sorted.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// With the table whose rows these images are.
    #[must_use]
    pub fn with_table(mut self, table: LineageInput) -> Self {
        self.table = Some(table);
        self
    }
}

impl Dataset for ImageFolder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn batch(&self, rows: &[usize]) -> Result<Batch, CollectError> {
        let file = |place: usize| &self.files[rows[place]];
        let decode = |place: usize| open(file(place))?.decode().map_err(|error| error.to_string());
        let pictures = self.preparation.prepare_all(rows.len(), decode, |place| file(place).display().to_string())?;
        let label = |labels: &Vec<i64>| {
            let kept: Vec<i64> = pictures.kept.iter().map(|&place| labels[rows[place]]).collect();
            Tensor::from_slice(&kept)
        };
        let labels = self.labels.as_ref().map(label);
        Ok(Batch { skipped: pictures.skipped, ..Batch::new(pictures.inputs, labels) })
    }

    fn as_sync(&self) -> Option<&(dyn Dataset + Sync)> {
        Some(self)
    }

    fn table(&self) -> Option<&LineageInput> {
        self.table.as_ref()
    }
}

/// A row of a file of labels.
#[derive(Debug, serde::Deserialize)]
struct Labelled {
    file: PathBuf,
    label: String,
}

/// The different classes, sorted, and for each sample the number of its own.
fn numbered(classes: &[String]) -> (Vec<String>, Vec<i64>) {
    let mut names = classes.to_vec();
    names.sort();
    names.dedup();
    let labels = classes.iter().map(|class| names.partition_point(|name| name < class) as i64).collect();
    (names, labels)
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), DatasetError> {
    let failed = |source| DatasetError::Read { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Links to folders are not followed: they may lead in circles.
        if entry.file_type().map_err(failed)?.is_dir() {
            list(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

pub(super) fn open(file: &Path) -> Result<ImageReader<std::io::BufReader<fs::File>>, String> {
    let reader = ImageReader::open(file).map_err(|error| error.to_string())?;
    reader.with_guessed_format().map_err(|error| error.to_string())
}

fn dimensions(file: &Path) -> Result<(u32, u32), String> {
    let reason = |error: image::ImageError| error.to_string().lines().next().unwrap_or_default().to_owned();
    open(file)?.into_dimensions().map_err(reason)
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    fn save(path: &Path, colour: [u8; 3], size: (u32, u32)) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("writable");
        RgbImage::from_pixel(size.0, size.1, Rgb(colour)).save(path).expect("writable");
    }

    #[test]
    fn sub_folders_are_classes_and_what_is_no_image_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        save(&folder.path().join("dog/a.png"), [255, 0, 0], (20, 10));
        save(&folder.path().join("cat/b.png"), [0, 255, 0], (6, 30));
        save(&folder.path().join("cat/deep/c.png"), [0, 0, 255], (8, 8));
        fs::write(folder.path().join("cat/notes.txt"), "no image").expect("writable");
        let preparation = Preparation::named("none", 4).expect("known");
        let (images, skipped) = ImageFolder::read(folder.path(), preparation).expect("images");
        assert_eq!(images.class_names(), ["cat", "dog"]);
        assert_eq!(images.labels(), Some([0, 0, 1].as_slice()));
        assert_eq!(skipped.len(), 1);
        assert!(skipped[0].0.ends_with("cat/notes.txt"));
        let batch = images.batch(&[0, 1, 2]).expect("decodable");
        let pixels = batch.inputs.only().expect("one tensor");
        assert_eq!(pixels.size(), [3, 3, 4, 4]);
        let means: Vec<f32> =
            Vec::try_from(pixels.mean_dim([2_i64, 3].as_slice(), false, tch::Kind::Float).reshape(-1))
                .expect("numbers");
        assert_eq!(means, [0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_csv_file_gives_classes_to_all_images_or_says_which_have_none() {
        let folder = tempfile::tempdir().expect("a folder");
        save(&folder.path().join("a.png"), [255, 0, 0], (8, 8));
        save(&folder.path().join("sub/b.png"), [0, 255, 0], (8, 8));
        let csv = folder.path().join("labels.csv");
        let read = |text: &str| {
            fs::write(&csv, text).expect("writable");
            let preparation = Preparation::named("none", 4).expect("known");
            ImageFolder::read(folder.path(), preparation).expect("images").0.with_labels_of(&csv)
        };
        let images = read("file, label\nsub/b.png, zebra\na.png, ant\nother.png, bee\n").expect("complete");
        assert_eq!(
            (images.class_names(), images.labels()),
            (["ant", "zebra"].map(String::from).as_slice(), Some([0, 1].as_slice()))
        );
        for (text, reason) in [
            ("file,label\na.png,ant\n", "1 of 2 images have no row"),
            ("name,label\na.png,ant\n", "missing field `file`"),
            ("file,label\na.png,ant\na.png,bee\nsub/b.png,ant\n", "a.png is both \"ant\" and \"bee\""),
        ] {
            let error = read(text).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn an_image_that_is_cut_short_is_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.png");
        save(&path, [1, 2, 3], (64, 64));
        let whole = fs::read(&path).expect("readable");
        fs::write(&path, &whole[..whole.len() - 40]).expect("writable");
        let (images, _) = ImageFolder::read(folder.path(), Preparation::named("half", 8).expect("known")).expect("one");
        assert!(images.labels().is_none());
        let batch = images.batch(&[0]).expect("the others are there");
        assert_eq!((batch.skipped, batch.inputs.n_samples()), (vec![0], 0));
        save(&folder.path().join("b.png"), [255; 3], (64, 64));
        let (images, _) = ImageFolder::read(folder.path(), Preparation::named("none", 8).expect("known")).expect("two");
        let batch = images.batch(&[1, 0]).expect("the others are there");
        assert_eq!((batch.skipped, batch.inputs.n_samples()), (vec![1], 1));
        assert_eq!(batch.inputs.only().expect("one tensor").min().double_value(&[]), 1.0, "the white one");
    }

    #[test]
    fn a_folder_without_images_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = ImageFolder::read(folder.path(), Preparation::named("half", 8).expect("known")).expect_err("empty");
        assert!(error.to_string().contains("holds no data set"), "{error}");
    }
}
