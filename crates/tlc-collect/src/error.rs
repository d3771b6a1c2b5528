//! What can go wrong while activations are collected.

use tlc_core::{Cancelled, StoreError};

use crate::memory::{readable, refused_by_libtorch};

/// Why collection was refused or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// A layer that the model does not have.
    #[error("the model has no layer {layer}; it has {count} (0 to {last}){near}")]
    UnknownLayer {
        /// The index or path given.
        layer: String,
        /// How many there are.
        count: usize,
        /// The last index.
        last: usize,
        /// Near names, as a clause, or empty.
        near: String,
    },
    /// A collector asks for a layer that the predictor does not listen at.
    #[error("layer {layer} is not among the predictor's layers {available:?}")]
    NotListening {
        /// The layer asked for.
        layer: usize,
        /// The layers that are recorded.
        available: Vec<usize>,
    },
    /// A layer that did not run.
    #[error(
        "layer {layer} ({path:?}) was not called in the forward pass, or where it cannot be heard; `layers` lists what \
         is called"
    )]
    NotCalled {
        /// Its index.
        layer: usize,
        /// Its path.
        path: String,
    },
    /// A layer that ran and gave something else than tensors.
    #[error("layer {layer} ({path:?}) was called but returned no tensor: {found}")]
    NoTensor {
        /// Its index; 0 is the model itself.
        layer: usize,
        /// Its path.
        path: String,
        /// The type of what it returned, and what may be the reason.
        found: String,
    },
    /// A layer that returns several tensors, of which none was chosen.
    #[error("layer {layer} returns {found}, not one tensor; choose one with `element`")]
    NotOneTensor {
        /// The layer's index; 0 is the model itself.
        layer: usize,
        /// The elements there are.
        found: String,
    },
    /// A choice that a layer does not have.
    #[error("layer {layer} returns no element {wanted:?}; it returns {found}")]
    UnknownElement {
        /// The layer's index; 0 is the model itself.
        layer: usize,
        /// The element that was chosen.
        wanted: String,
        /// The elements there are.
        found: String,
    },
    /// Activations that a strategy cannot bring to one vector per sample.
    #[error("cannot reshape layer {layer} by {strategy}: its activations are {shape:?}; {advice}")]
    Reshape {
        /// The layer's index.
        layer: usize,
        /// The strategy.
        strategy: String,
        /// The activations' shape.
        shape: Vec<i64>,
        /// What would be accepted.
        advice: String,
    },
    /// A width that differs between batches.
    #[error(
        "column {column:?} is {found} wide in this batch and was {expected} before; inputs of different sizes need a \
         strategy of fixed width, such as mean or avg_pool_2_2"
    )]
    WidthChanged {
        /// The column.
        column: String,
        /// The width at first.
        expected: usize,
        /// The width now.
        found: usize,
    },
    /// An unknown reshape strategy.
    #[error("unknown reshape strategy {name:?}; known: {known}")]
    UnknownStrategy {
        /// The name given.
        name: String,
        /// The names there are.
        known: String,
    },
    /// Data without rows.
    #[error("the data set is empty; at least one sample is needed")]
    Empty,
    /// A data set or collector that does not keep its promise.
    #[error("{what}")]
    Data {
        /// What is wrong and what would be accepted.
        what: String,
    },
    /// More memory than there is.
    #[error(
        "cannot {action}: that takes {}, more memory than can be had; use smaller batches, or a reshape strategy that \
         makes fewer columns, such as mean",
        readable(*.bytes)
    )]
    OutOfMemory {
        /// What was attempted.
        action: String,
        /// How much was asked for.
        bytes: u128,
    },
    /// libtorch failed.
    #[error("cannot {action}")]
    Torch {
        /// What was attempted.
        action: String,
        /// libtorch's own message.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller asked to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl CollectError {
    pub(crate) fn torch(
        action: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let (action, source) = (action.into(), source.into());
        match refused_by_libtorch(&source.to_string()) {
            Some(bytes) => Self::OutOfMemory { action, bytes },
            None => Self::Torch { action, source },
        }
    }

    /// Whether the caller asked to stop, wherever that was noticed.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, CollectError::Cancelled(_) | CollectError::Store(StoreError::Cancelled(_)))
    }
}
