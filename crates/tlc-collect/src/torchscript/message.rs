//! What is wrong, out of libtorch's long messages.

/// The part of libtorch's message that says what is wrong, and the layer that it reached, without the traces around it.
pub(super) fn essence(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    // `RuntimeError: …`, or the name of what a model raises, such as `builtins.ValueError: …`.
    let reason = |line: &'_ str| -> Option<String> {
        let (name, reason) = line.split_once(": ")?;
        let is_error = !name.contains(' ') && (name.ends_with("Error") || name.ends_with("Exception"));
        is_error.then(|| reason.to_owned())
    };
    let found = lines().rev().find_map(reason).or_else(|| lines().next().map(str::to_owned));
    let found = found.unwrap_or_else(|| "libtorch gave no message".to_owned());
    match layer_reached(text) {
        Some(layer) => format!("{found} (in {layer})"),
        None => found,
    }
}

/// The calls that are marked in the trace, outermost first, and the class file of the innermost. A scripted model's
/// trace names only the latter, since its calls are inlined.
fn layer_reached(text: &str) -> Option<String> {
    let mut layers = Vec::new();
    let mut class = None;
    let mut above = "";
    for line in text.lines() {
        if let Some((_, file)) = line.split_once("File \"code/__torch__/") {
            let file = file.split(".py").next().unwrap_or_default();
            let file = file.split("/___torch_mangle").next().unwrap_or_default().replace('/', ".");
            // What a layer calls says less than the layer.
            if file != "torch.nn.functional" {
                class = Some(file);
            }
        }
        if line.contains("<--- HERE")
            && let Some(start) = line.find('~')
            && let Some(called) = above.get(start..)
            && let Some((layer, rest)) = called.trim_start_matches('(').split_once(')')
            && rest.starts_with(".forward")
        {
            layers.push(layer.to_owned());
        }
        above = line;
    }
    match (layers.is_empty(), class) {
        (true, class) => class,
        (false, None) => Some(layers.join(".")),
        (false, Some(class)) => Some(format!("{}, {class}", layers.join("."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_A_TRACED_MODEL: &str = "The following operation failed in the TorchScript interpreter.
Traceback of TorchScript (most recent call last):
  File \"code/__torch__/timm/models/resnet.py\", line 28, in forward_with_layers
    conv1 = self.conv1
    _0 = (bn1).forward((conv1).forward(x, ), )
                        ~~~~~~~~~~~~~~ <--- HERE
  File \"code/__torch__/torch/nn/modules/conv/___torch_mangle_176.py\", line 10, in forward
    input = torch._convolution(x, weight, None, [2, 2], [3, 3])
            ~~~~~~~~~~~~~~~~~~ <--- HERE
RuntimeError: expected input[1, 4, 64, 64] to have 3 channels
";

    #[test]
    fn the_reason_and_the_layer_are_what_remains() {
        assert_eq!(
            essence(OF_A_TRACED_MODEL),
            "expected input[1, 4, 64, 64] to have 3 channels (in conv1, torch.nn.modules.conv)"
        );
        assert_eq!(essence("file not found\nand a trace"), "file not found");
        assert_eq!(essence(""), "libtorch gave no message");
    }
}
