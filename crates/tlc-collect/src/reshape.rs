//! Brings activations to one vector per sample, on the device where they are.
//!
//! | strategy | `(B, D)` | `(B, T, D)` or `(B, C, L)` | `(B, C, H, W)` |
//! |---|---|---|---|
//! | `mean` | `(B, D)` | `(B, C)`: mean over the last axis | `(B, C)` |
//! | `flatten` | `(B, D)` | `(B, T·D)` | `(B, C·H·W)` |
//! | `avg_pool_k_k` | refused | refused | `(B, C·k·k)` |
//! | `max_pool` | refused | `(B, C)`: largest over the last axis | `(B, C)` |
//! | `mean_tokens` | refused | `(B, D)`: mean over the tokens | refused |
//! | `cls_token` | refused | `(B, D)`: the first token | refused |

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Tensor;
use tlc_core::{PluginInfo, PluginKind, plugins};

use crate::CollectError;
use crate::memory::refused_by_libtorch;
use crate::panics::catch_panic;

/// Turns a layer's activations, batch first, into `(B, width)`.
///
/// Its own functions are ordinary tensor code and run where the activations are.
#[typetag::serde(tag = "type")]
pub trait ReshapeStrategy: fmt::Debug + Send + Sync {
    /// The reshaped activations.
    ///
    /// # Errors
    /// What shapes would be accepted.
    fn reshape(&self, activations: &Tensor) -> Result<Tensor, String>;
}

/// A strategy as users give it: a name, a plugin or a closure.
#[derive(Clone)]
pub struct Reshape {
    name: String,
    /// For lineage: the tag, with the fields of a strategy that has some.
    json: Value,
    apply: Arc<Apply>,
}

type Apply = dyn Fn(&Tensor) -> Result<Tensor, String> + Send + Sync;

impl fmt::Debug for Reshape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reshape").field(&self.name).finish()
    }
}

/// What [`Reshape::named`] knows.
pub(crate) const NAMED: [&str; 8] =
    ["mean", "flatten", "avg_pool_1_1", "avg_pool_2_2", "avg_pool_3_3", "max_pool", "mean_tokens", "cls_token"];

impl Reshape {
    /// One of the strategies of the table above, or a linked plugin whose fields all have defaults: by its tag
    /// (`"my-strategy/1"`) or its short name, which means the newest version.
    ///
    /// # Errors
    /// [`CollectError::UnknownStrategy`].
    pub fn named(name: &str) -> Result<Self, CollectError> {
        Ok(match name {
            "mean" => Self::plugin(Mean),
            "flatten" => Self::plugin(Flatten),
            "avg_pool_1_1" => Self::plugin(AvgPool { size: 1 }),
            "avg_pool_2_2" => Self::plugin(AvgPool { size: 2 }),
            "avg_pool_3_3" => Self::plugin(AvgPool { size: 3 }),
            "max_pool" => Self::plugin(MaxPool),
            "mean_tokens" => Self::plugin(MeanTokens),
            "cls_token" => Self::plugin(ClsToken),
            _ => return Self::linked(name),
        })
    }

    fn linked(name: &str) -> Result<Self, CollectError> {
        let is_it = |tag: &str| tag == name || tag.rsplit_once('/').is_some_and(|(short, _)| short == name);
        let tags = plugins().into_iter().filter(|plugin| plugin.kind == PluginKind::ReshapeStrategy);
        let version = |tag: &str| tag.rsplit_once('/').and_then(|(_, version)| version.parse::<u32>().ok());
        let tag = tags.map(|plugin| plugin.tag).filter(|tag| is_it(tag)).max_by_key(|tag| version(tag));
        let made = tag.and_then(|tag| serde_json::from_value(serde_json::json!({ "type": tag })).ok());
        let unknown = || CollectError::UnknownStrategy { name: name.to_owned(), known: NAMED.join(", ") };
        made.map(Self::of).ok_or_else(unknown)
    }

    /// A strategy of a type of its own.
    pub fn plugin(strategy: impl ReshapeStrategy + 'static) -> Self {
        Self::of(Box::new(strategy))
    }

    fn of(strategy: Box<dyn ReshapeStrategy>) -> Self {
        let tag = strategy.typetag_name();
        let mut fields = serde_json::to_value(&strategy).unwrap_or_default();
        fields.as_object_mut().map(|fields| fields.remove("type"));
        let has_fields = fields.as_object().is_some_and(|fields| !fields.is_empty());
        let name = if has_fields { format!("{tag} {fields}") } else { tag.to_owned() };
        let json = if has_fields { serde_json::to_value(&strategy).unwrap_or_default() } else { tag.into() };
        Self { name, json, apply: Arc::new(move |activations| strategy.reshape(activations)) }
    }

    /// A function from activations to `(B, width)`; `name` is what errors and lineage call it.
    pub fn custom(name: &str, function: impl Fn(&Tensor) -> Tensor + Send + Sync + 'static) -> Self {
        Self { name: name.to_owned(), json: name.into(), apply: Arc::new(move |activations| Ok(function(activations))) }
    }

    /// What errors call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What lineage calls it: a tag, an object of tag and fields, or the name of a function.
    pub fn to_json(&self) -> Value {
        self.json.clone()
    }

    /// The activations of `layer` as `(B, width)`.
    ///
    /// # Errors
    /// [`CollectError::Reshape`], with what would be accepted.
    pub fn apply(&self, layer: usize, activations: &Tensor) -> Result<Tensor, CollectError> {
        let shape = activations.size();
        let refused =
            |advice: String| CollectError::Reshape { layer, strategy: self.name.clone(), shape: shape.clone(), advice };
        let reshaped = catch_panic(|| (self.apply)(activations)).and_then(|reshaped| reshaped);
        let reshaped = reshaped.map_err(|text| match refused_by_libtorch(&text) {
            Some(bytes) => {
                let action = format!("reshape layer {layer}, {shape:?}, by {}", self.name);
                CollectError::OutOfMemory { action, bytes }
            }
            None => refused(text),
        })?;
        let found = reshaped.size();
        if found.len() == 2 && found[0] == shape[0] && found[1] > 0 {
            return Ok(reshaped);
        }
        Err(refused(format!("the result is {found:?}, one row per sample is needed")))
    }
}

impl Default for Reshape {
    /// `mean`.
    fn default() -> Self {
        Self::plugin(Mean)
    }
}

macro_rules! strategy {
    ($type:ty, $tag:literal, $summary:literal, |$this:ident, $activations:ident| $reshape:expr) => {
        tlc_core::inventory::submit! {
            PluginInfo {
                kind: PluginKind::ReshapeStrategy,
                tag: $tag,
                crate_name: env!("CARGO_PKG_NAME"),
                crate_version: env!("CARGO_PKG_VERSION"),
                summary: $summary,
            }
        }

        #[typetag::serde(name = $tag)]
        impl ReshapeStrategy for $type {
            fn reshape(&self, $activations: &Tensor) -> Result<Tensor, String> {
                let $this = self;
                $reshape
            }
        }
    };
}

/// The mean over all axes after the first two.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Mean;

/// All axes after the first in one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Flatten;

/// Means over a grid of `size × size`, flattened.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct AvgPool {
    /// Side of the grid.
    pub size: i64,
}

/// The largest value over all axes after the first two.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct MaxPool;

/// The mean over the tokens of a sequence.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct MeanTokens;

/// The first token of a sequence.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ClsToken;

strategy!(Mean, "mean/1", "mean over all axes after the first two", |_this, activations| match activations.dim() {
    0 | 1 => Err("at least (batch, features) is needed".to_owned()),
    2 => Ok(activations.shallow_clone()),
    n => {
        let axes: Vec<i64> = (2..n as i64).collect();
        // In f32, since a mean over many half-precision values loses digits.
        Ok(activations.mean_dim(axes.as_slice(), false, tch::Kind::Float))
    }
});
strategy!(Flatten, "flatten/1", "all axes after the first in one", |_this, activations| {
    if activations.dim() < 2 {
        return Err("at least (batch, features) is needed".to_owned());
    }
    Ok(activations.flatten(1, -1))
});
strategy!(AvgPool, "avg_pool/1", "means over a small grid, flattened", |this, activations| {
    if activations.dim() != 4 {
        return Err("(batch, channels, height, width) is needed; use mean or flatten".to_owned());
    }
    Ok(activations.adaptive_avg_pool2d([this.size, this.size]).flatten(1, -1))
});
strategy!(MaxPool, "max_pool/1", "largest value over all axes after the first two", |_this, activations| {
    if activations.dim() < 3 {
        return Err("(batch, channels, …) is needed; use mean".to_owned());
    }
    let axes: Vec<i64> = (2..activations.dim() as i64).collect();
    Ok(activations.amax(axes.as_slice(), false))
});
strategy!(MeanTokens, "mean_tokens/1", "mean over the tokens of a sequence", |_this, activations| {
    if activations.dim() != 3 {
        return Err("(batch, tokens, features) is needed; use mean".to_owned());
    }
    Ok(activations.mean_dim(1, false, tch::Kind::Float))
});
strategy!(ClsToken, "cls_token/1", "the first token of a sequence", |_this, activations| {
    if activations.dim() != 3 || activations.size()[1] == 0 {
        return Err("(batch, tokens, features) is needed; use mean".to_owned());
    }
    Ok(activations.select(1, 0))
});
