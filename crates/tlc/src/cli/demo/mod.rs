//! The whole road on real data: train, collect after every epoch, reduce, look.

mod pictures;
mod report;
mod train;

use std::net::Ipv4Addr;

use anyhow::{Context, bail};
use serde_json::{Map, Value, json};
use tlc::collect::models::ResNet;
use tlc::collect::{
    ClassificationMetrics, CollectOptions, CollectReport, EmbeddingsMetricsCollector, LayerRef, MetricsCollector,
    Model, Predictor, collect_metrics,
};
use tlc::core::{Progress, Url};
use tlc::datasets;
use tlc::open_project;
use tlc::run::{Project, ReduceOptions, Run, RunStatus};
use tlc::view::Scene;
use tlc::view::server::Source;

use self::train::{Split, Trainer};
use super::args::DemoArgs;
use super::bars::Screen;
use super::ending::ended;

const COLLECT_BATCH: usize = 500;

/// One demo under way.
struct Demo<'a> {
    args: &'a DemoArgs,
    run: Run,
    layers: Vec<usize>,
    classes: &'a [String],
    screen: &'a Screen,
    progress: &'a Progress,
}

pub(crate) fn run(args: &DemoArgs, screen: &Screen, progress: &Progress) -> anyhow::Result<()> {
    let options = reduce_options(args)?;
    if args.out.to_string_lossy().contains("://") {
        bail!("--out is {}; the demo needs a local folder, since it draws pictures into it", args.out.display());
    }
    let mut data = datasets::read(&args.data)?;
    for (images, wanted, option) in
        [(&mut data.train, args.train, "--train"), (&mut data.validation, args.val, "--val")]
    {
        let n = images.len();
        if n == 0 {
            bail!("{} has no images for {option}; at least one is needed", args.data.display());
        }
        if wanted == 0 || wanted > n {
            bail!("{option} is {wanted}; {} has {n} such images, use 1 to {n}", args.data.display());
        }
        images.truncate(wanted);
    }
    let mut trainer = Trainer::new(&data, args.seed)?;
    let layers = layer_indices(trainer.model(), &args.layers)?;

    let project = open_project(&args.out)?;
    let train = Split::store(&project, &data, "train", &data.train)?;
    let validation = Split::store(&project, &data, "val", &data.validation)?;
    let demo =
        Demo { args, run: begin(&project, args, data.name)?, layers, classes: &data.class_names, screen, progress };
    screen.line(format!("run {} in {}", demo.run.name(), demo.run.url()));

    let finished = demo
        .train_and_collect(&mut trainer, [&train, &validation])
        .and_then(|()| demo.reduce_and_show(&train.table.url, &options));
    ended(&demo.run, finished).with_context(|| {
        let (name, out) = (demo.run.name(), args.out.display());
        let tlc = std::env::current_exe().map_or_else(|_| "tlc".to_owned(), |path| path.display().to_string());
        format!(
            "run {name} is incomplete; continue it with the same options and --resume {name}, or remove it with \
             `{tlc} remove-run {name} --project {out}`"
        )
    })?;
    if args.no_view {
        return Ok(());
    }
    let source = Source::Project { run: demo.run.name().to_owned(), project };
    super::view::serve(source, Ipv4Addr::LOCALHOST.into(), 0, false, screen, progress)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The method with 3 and 2 components, or with the one that was asked for.
fn reduce_options(args: &DemoArgs) -> anyhow::Result<ReduceOptions> {
    let components = args.components.map_or_else(|| vec![3, 2], |n| vec![n]);
    let reducers: Result<Vec<_>, _> = components
        .iter()
        .map(|&n| tlc::create_reducer(&args.method, [("n_components", json!(n)), ("seed", json!(args.seed))]))
        .collect();
    Ok(ReduceOptions::new(reducers?))
}

fn layer_indices(model: &dyn Model, layers: &[String]) -> anyhow::Result<Vec<usize>> {
    let mut indices = Vec::new();
    for layer in layers {
        let index = model.tree().find(&LayerRef::from(layer.as_str()))?.index;
        if !indices.contains(&index) {
            indices.push(index);
        }
    }
    Ok(indices)
}

/// Begins a run, or opens the one to continue if it was begun with the same options.
fn begin(project: &Project, args: &DemoArgs, dataset: &str) -> anyhow::Result<Run> {
    let parameters: Map<String, Value> = [
        ("model", json!("resnet18")),
        ("dataset", json!(dataset)),
        ("train", json!(args.train)),
        ("val", json!(args.val)),
        ("epochs", json!(args.epochs)),
        ("layers", json!(args.layers)),
        ("method", json!(args.method)),
        ("components", json!(args.components)),
        ("seed", json!(args.seed)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let Some(name) = &args.resume else {
        return Ok(project.create_run(&format!("{dataset}-resnet18"), parameters)?);
    };
    let run = project.open_run(name)?;
    let record = run.record()?;
    if record.status == RunStatus::Completed {
        bail!("run {name} is complete; there is nothing to continue");
    }
    if record.parameters != parameters {
        bail!("run {name} was begun with {}; continue it with the same options", Value::Object(record.parameters));
    }
    Ok(run)
}

impl Demo<'_> {
    /// Trains, and collects before the first and after every epoch.
    ///
    /// Training is a function of data and seed, so a run is continued by training again and collecting
    /// only what it does not have yet.
    fn train_and_collect(&self, trainer: &mut Trainer, splits: [&Split; 2]) -> anyhow::Result<()> {
        let collected: Vec<_> = self.run.metrics()?.into_iter().map(|entry| entry.constants).collect();
        for epoch in 0..=self.args.epochs {
            if epoch > 0 {
                trainer.epoch(splits[0], epoch, self.args.epochs, self.progress)?;
            }
            for split in splits {
                if collected.contains(&constants(epoch, split.name)) {
                    self.screen.line(format!("epoch {epoch}: {} is collected already", split.name));
                    continue;
                }
                let means = self.collect(trainer.model(), split, epoch)?.means;
                let mean = |name: &str| means.get(name).copied().unwrap_or(f64::NAN);
                let (accuracy, loss) = (mean("correct"), mean("loss"));
                self.screen.line(format!("epoch {epoch}: {:<5} accuracy {accuracy:.3}, loss {loss:.3}", split.name));
            }
        }
        Ok(())
    }

    fn collect(&self, model: &ResNet, split: &Split, epoch: usize) -> anyhow::Result<CollectReport> {
        let predictor = Predictor::new(model, self.layers.iter().copied())?;
        let options = CollectOptions {
            name: format!("{}-epoch-{epoch}", split.name),
            batch_size: COLLECT_BATCH,
            constants: constants(epoch, split.name),
            ..CollectOptions::default()
        };
        let mut embeddings = EmbeddingsMetricsCollector::new(self.layers.iter().copied());
        let mut metrics = ClassificationMetrics::new(self.classes);
        let collectors: &mut [&mut dyn MetricsCollector] = &mut [&mut metrics, &mut embeddings];
        Ok(collect_metrics(&self.run, &split.dataset, collectors, &predictor, &options, self.progress)?)
    }

    fn reduce_and_show(&self, train_table: &Url, options: &ReduceOptions) -> anyhow::Result<()> {
        let Self { args, run, layers, screen, progress, .. } = self;
        let size = || run.project().store().size_bytes(run.url());
        let size_before = size()?;
        // A run that is continued may have been reduced already, up to the deletion of its sources.
        run.finish_deletions()?;
        let waiting = run.metrics()?.iter().filter(|entry| entry.reduced_from.is_none()).count();
        if waiting > 0 {
            screen.line(format!("reducing {waiting} tables with {}", args.method));
            run.reduce_embeddings_by_foreign_table_url(train_table, options, progress)?;
        }
        screen.line("reduced tables, each below the deleted source that it replaces:");
        for entry in run.metrics()? {
            if let Some(source) = &entry.reduced_from {
                say!("  {source}\n    -> {}", entry.url);
            }
        }
        let scene = Scene::of_run(run.project(), run)?;
        report::print(&scene, layers, &args.method, progress)?;
        say!(
            "\ndisk used by the run: {:.1} MB with embeddings, {:.1} MB after reduction (models included)",
            megabytes(size_before),
            megabytes(size()?)
        );
        let folder = run.url().join("pictures")?.to_path().context("pictures need a local folder")?;
        let sheet = pictures::write(&scene, &folder, progress)?;
        say!("pictures of every epoch: {}\nall of them at once:     {}", folder.display(), sheet.display());
        Ok(())
    }
}

fn constants(epoch: usize, split: &str) -> Map<String, Value> {
    [("epoch".to_owned(), json!(epoch)), ("split".to_owned(), json!(split))].into_iter().collect()
}
