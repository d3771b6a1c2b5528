//! Layers without parameters, which PyTorch has as modules and tch has as functions.

use tch::{Tensor, nn};

use crate::Describe;

macro_rules! module {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* }, $kind:literal, |$this:ident, $input:ident| $forward:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type),*
        }

        impl Describe for $name {
            fn kind(&self) -> String {
                $kind.to_owned()
            }
        }

        impl nn::Module for $name {
            fn forward(&self, $input: &Tensor) -> Tensor {
                let $this = self;
                $forward
            }
        }
    };
}

module!(
    /// `max(x, 0)`.
    ReLU {}, "ReLU", |_this, input| input.relu()
);
module!(
    /// Its input.
    Identity {}, "Identity", |_this, input| input.shallow_clone()
);
module!(
    /// The largest value of each window.
    MaxPool2d {
        /// Side of the window.
        kernel_size: i64,
        /// Step of the window.
        stride: i64,
        /// Border that is added.
        padding: i64
    }, "MaxPool2d", |this, input| {
        let square = |x| [x, x];
        input.max_pool2d(square(this.kernel_size), square(this.stride), square(this.padding), [1, 1], false)
    }
);
module!(
    /// Means over a grid of `output_size × output_size`.
    AdaptiveAvgPool2d {
        /// Side of the output.
        output_size: i64
    }, "AdaptiveAvgPool2d", |this, input| input.adaptive_avg_pool2d([this.output_size, this.output_size])
);
module!(
    /// All dimensions after the batch in one.
    Flatten {}, "Flatten", |_this, input| input.flatten(1, -1)
);
