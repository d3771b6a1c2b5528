// Forward hooks for TorchScript modules, which libtorch does not have.
//
// A capture is a copy of the graph of the module's `forward`. It begins with an empty list for each wanted layer.
// Wherever `forward` of a wanted layer is called, its result is appended to that layer's list; only then is the call
// inlined, so that layers within it are reached, also in branches and loops. The graph returns the lists beside its
// result.
//
// Every function that can fail returns its error's text (to be freed with tlc_ts_free_text) or null; no exception
// crosses the border. Tensors cross as torch-sys has them: pointers to at::Tensor. Modules and captures may be used by
// several threads at once.

#include <torch/csrc/jit/api/function_impl.h>
#include <torch/csrc/jit/ir/ir.h>
#include <torch/csrc/jit/passes/inliner.h>
#include <torch/script.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

namespace jit = torch::jit;

char* copy_of(const std::string& text) { return strdup(text.c_str()); }

template <typename Work>
char* guarded(Work work) noexcept {
  try {
    work();
    return nullptr;
  } catch (const c10::Error& error) {
    return copy_of(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return copy_of(error.what());
  } catch (...) {
    return copy_of("an exception of an unknown kind");
  }
}

struct Layer {
  std::string path;
  std::string kind;
  int64_t n_parameters;
};

// A loaded module and its layers, numbered as Python's named_modules() does: depth first, each module once.
struct Module {
  jit::Module module;
  std::vector<Layer> layers;
  // By object, since one module may be reached by several paths.
  std::unordered_map<const void*, size_t> index_of;
  std::map<std::vector<const void*>, std::vector<jit::Module>> by_tensors;

  static std::vector<const void*> tensors_of(const jit::Module& of) {
    std::vector<const void*> tensors;
    const auto add = [&](const at::Tensor& tensor) {
      if (tensor.defined() && tensor.has_storage() && tensor.numel() > 0) {
        tensors.push_back(tensor.const_data_ptr());
      }
    };
    for (const auto& tensor : of.parameters()) {
      add(tensor);
    }
    for (const auto& tensor : of.buffers()) {
      add(tensor);
    }
    return tensors;
  }

  static std::string kind_of(const jit::Module& of) {
    const auto name = of.type()->name();
    return name ? name->name() : "Module";
  }

  // Whether two modules have the same classes and names all the way down. No module is like one of its own parts.
  static bool are_alike(const jit::Module& a, const jit::Module& b) {
    if (kind_of(a) != kind_of(b) || a.named_children().size() != b.named_children().size()) {
      return false;
    }
    auto other = b.named_children().begin();
    for (const auto& child : a.named_children()) {
      const auto& [name, value] = *other;
      if (child.name != name || !are_alike(child.value, value)) {
        return false;
      }
      ++other;
    }
    return true;
  }

  // A module that Python has under two names is two objects in a file with the same tensors. Scripted, both are of one
  // type. Traced, each is of its own, and all calls go to one of them: the other has no method.
  static bool are_one(const jit::Module& a, const jit::Module& b) {
    const bool is_never_called = !a.find_method("forward") || !b.find_method("forward");
    return a.type() == b.type() || (is_never_called && are_alike(a, b));
  }

  void add_other_name(const jit::Module& of, const jit::Module& first) {
    index_of.emplace(of._ivalue().get(), index_of.at(first._ivalue().get()));
    for (const auto& child : of.named_children()) {
      add_other_name(child.value, first.attr(child.name).toModule());
    }
  }

  void add(const jit::Module& of, const std::string& path) {
    if (index_of.count(of._ivalue().get()) != 0) {
      return;
    }
    const auto tensors = tensors_of(of);
    if (!tensors.empty()) {
      auto& known = by_tensors[tensors];
      for (const auto& first : known) {
        if (are_one(first, of)) {
          add_other_name(of, first);
          return;
        }
      }
      known.push_back(of);
    }
    index_of.emplace(of._ivalue().get(), layers.size());
    int64_t n_parameters = 0;
    for (const auto& parameter : of.named_parameters(/*recurse=*/false)) {
      n_parameters += parameter.value.numel();
    }
    layers.push_back({path, kind_of(of), n_parameters});
    for (const auto& child : of.named_children()) {
      add(child.value, path.empty() ? child.name : path + "." + child.name);
    }
  }
};

// A tensor within a result; or, undefined, the mark that a result has none.
struct Part {
  int64_t layer;  // -1: the module's own result
  int64_t call;
  // What the tensor is called within the result: nothing if it is the result itself, otherwise places in tuples, lists
  // and dictionaries, joined by dots. Of a mark the result's type.
  std::string path;
  at::Tensor tensor;
};

void flatten(const c10::IValue& value, int64_t layer, int64_t call, const std::string& path, std::vector<Part>& parts) {
  const auto below = [&](const std::string& name) { return path.empty() ? name : path + "." + name; };
  if (value.isTensor()) {
    if (value.toTensor().defined()) {
      parts.push_back({layer, call, path, value.toTensor()});
    }
  } else if (value.isTuple()) {
    const auto& elements = value.toTupleRef().elements();
    const auto type = value.type()->cast<c10::TupleType>();
    const auto* schema = type && type->schema() ? type->schema().get() : nullptr;
    for (size_t i = 0; i < elements.size(); ++i) {
      flatten(elements[i], layer, call, below(schema ? schema->arguments()[i].name() : std::to_string(i)), parts);
    }
  } else if (value.isList()) {
    const auto elements = value.toListRef();
    for (size_t i = 0; i < elements.size(); ++i) {
      flatten(elements[i], layer, call, below(std::to_string(i)), parts);
    }
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      const auto key = entry.key().isString() ? entry.key().toStringRef() : c10::str(entry.key());
      flatten(entry.value(), layer, call, below(key), parts);
    }
  }
}

// The parts of one result, or the mark that it has none: a layer that returns no tensor was called all the same.
void hand_over(const c10::IValue& value, int64_t layer, int64_t call, std::vector<Part>& parts) {
  const size_t before = parts.size();
  flatten(value, layer, call, "", parts);
  if (parts.size() == before) {
    parts.push_back({layer, call, value.type()->annotation_str(), at::Tensor()});
  }
}

struct Capture {
  const Module* owner;
  // The wanted layers in the order of the graph's lists; those that no call was found of have none.
  std::vector<size_t> layers;
  std::unique_ptr<jit::GraphFunction> function;
};

// Builds the graph of a capture.
class Weaver {
 public:
  Weaver(const Module& module, const std::set<size_t>& wanted)
      : module_(module),
        wanted_(wanted),
        method_(module.module.get_method("forward")),
        graph_(jit::toGraphFunction(method_.function()).graph()->copy()),
        self_(graph_->inputs()[0]) {}

  std::unique_ptr<Capture> weave() {
    walk(graph_->block());
    if (writes_in_place_) {
      keep_copies();
    }
    auto capture = std::make_unique<Capture>();
    capture->owner = &module_;
    std::vector<jit::Value*> lists;
    for (const auto& [layer, list] : lists_) {
      capture->layers.push_back(layer);
      lists.push_back(list);
    }
    jit::Node* captured = graph_->appendNode(graph_->createTuple(lists));
    jit::Node* both = graph_->appendNode(graph_->createTuple({graph_->outputs()[0], captured->output()}));
    graph_->eraseOutput(0);
    graph_->registerOutput(both->output());
    capture->function = std::make_unique<jit::GraphFunction>("forward_with_layers", graph_, nullptr);
    return capture;
  }

 private:
  // The module that a value stands for, if it is reached from the root by attributes alone.
  std::optional<jit::Module> module_of(jit::Value* value) const {
    if (value == self_) {
      return module_.module;
    }
    jit::Node* node = value->node();
    if (node->kind() != c10::prim::GetAttr) {
      return std::nullopt;
    }
    const auto parent = module_of(node->input(0));
    if (!parent) {
      return std::nullopt;
    }
    const auto attribute = parent->attr(node->s(c10::attr::name));
    return attribute.isModule() ? std::optional(attribute.toModule()) : std::nullopt;
  }

  void walk(jit::Block* block) {
    for (auto it = block->nodes().begin(); it != block->nodes().end();) {
      jit::Node* node = *it;
      for (jit::Block* inner : node->blocks()) {
        walk(inner);
      }
      if (jit::GraphFunction* function = function_called_by(node)) {
        jit::Node* before = node->prev();
        jit::inlineCallTo(node, function, function->graph().get());
        // Go on with what took the call's place.
        it = before->iterator();
        ++it;
        continue;
      }
      writes_in_place_ = writes_in_place_ || may_write(*node);
      ++it;
    }
  }

  // What a call of a module's method or of a function runs, ready to be inlined; null if `node` is none or its callee
  // is not known before it runs. Results of wanted layers are recorded.
  jit::GraphFunction* function_called_by(jit::Node* node) {
    if (node->kind() == c10::prim::CallFunction) {
      jit::GraphFunction* function = jit::tryToGraphFunction(node);
      if (function != nullptr) {
        node->removeInput(0);  // the function itself
      }
      return function;
    }
    if (node->kind() != c10::prim::CallMethod) {
      return nullptr;
    }
    const auto callee = module_of(node->input(0));
    if (!callee) {
      return nullptr;
    }
    const auto& name = node->s(c10::attr::name);
    if (is_forward(name) && node->outputs().size() == 1) {
      const auto found = module_.index_of.find(callee->_ivalue().get());
      if (found != module_.index_of.end() && wanted_.count(found->second) != 0) {
        record(found->second, node);
      }
    }
    // An attribute may be declared by an interface; what is inlined needs the class.
    node->input(0)->setType(callee->type());
    return jit::tryToGraphFunction(callee->get_method(name).function());
  }

  // `forward`, or one of the names under which a trace keeps the further calls of a layer: `forward1` and so on.
  static bool is_forward(const std::string& method) {
    const std::string forward = "forward";
    return method.compare(0, forward.size(), forward) == 0 &&
        std::all_of(method.begin() + forward.size(), method.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
  }

  // Whether a node may write into a tensor: by its schema, or because nobody knows what it calls.
  static bool may_write(const jit::Node& node) {
    if (node.kind() == c10::prim::CallMethod || node.kind() == c10::prim::CallFunction ||
        node.kind() == c10::prim::fork) {
      return true;
    }
    const auto* schema = node.maybeSchema();
    if (schema == nullptr || !schema->is_mutable()) {
      return false;
    }
    for (const auto& argument : schema->arguments()) {
      const auto* alias = argument.alias_info();
      const auto& type = argument.type();
      const auto list = type->cast<c10::ListType>();
      const bool holds_tensors = type->isSubtypeOf(*c10::TensorType::get()) ||
          (list && list->getElementType()->isSubtypeOf(*c10::TensorType::get()));
      // Not aten::append and its like, which change a list of anything.
      if (alias != nullptr && alias->isWrite() && holds_tensors) {
        return true;
      }
    }
    return false;
  }

  // Appends the result of `call` to the layer's list, which must be done before the call is inlined: what inlining
  // puts in its place takes over all its uses.
  void record(size_t layer, jit::Node* call) {
    jit::Value* result = call->output();
    auto& list = lists_[layer];
    if (list == nullptr) {
      list = graph_->prependNode(graph_->createList(result->type(), {}))->output();
    }
    jit::WithInsertPoint at(call->next());
    appends_.push_back(graph_->insert(c10::aten::append, {list, result})->node());
  }

  // Later operations may write into what a layer returned: a hook saw it as it was.
  void keep_copies() {
    for (jit::Node* append : appends_) {
      jit::Value* result = append->input(1);
      if (result->type()->isSubtypeOf(*c10::TensorType::get())) {
        jit::WithInsertPoint at(append);
        append->replaceInput(1, graph_->insert(c10::aten::clone, {result}));
      }
    }
  }

  const Module& module_;
  const std::set<size_t>& wanted_;
  jit::Method method_;
  std::shared_ptr<jit::Graph> graph_;
  jit::Value* self_;
  std::map<size_t, jit::Value*> lists_;
  std::vector<jit::Node*> appends_;
  bool writes_in_place_ = false;
};

}  // namespace

extern "C" {

void tlc_ts_free_text(char* text) { free(text); }

// `device`: -1 for the CPU, otherwise the number of a CUDA device.
char* tlc_ts_load(const char* path, int device, void** loaded) noexcept {
  return guarded([&] {
    auto module = std::make_unique<Module>();
    const auto target = device < 0 ? c10::Device(c10::kCPU) : c10::Device(c10::kCUDA, static_cast<int8_t>(device));
    module->module = jit::load(path, target, /*load_debug_files=*/false);
    module->module.eval();
    module->add(module->module, "");
    *loaded = module.release();
  });
}

void tlc_ts_free_module(void* module) noexcept { delete static_cast<Module*>(module); }

size_t tlc_ts_n_layers(const void* module) noexcept { return static_cast<const Module*>(module)->layers.size(); }

// The texts live as long as the module.
void tlc_ts_layer(const void* module, size_t index, const char** path, const char** kind, int64_t* n_parameters) noexcept {
  const Layer& layer = static_cast<const Module*>(module)->layers[index];
  *path = layer.path.c_str();
  *kind = layer.kind.c_str();
  *n_parameters = layer.n_parameters;
}

// The capture must not outlive its module.
char* tlc_ts_capture(const void* module, const size_t* layers, size_t n_layers, void** capture) noexcept {
  return guarded([&] {
    const std::set<size_t> wanted(layers, layers + n_layers);
    *capture = Weaver(*static_cast<const Module*>(module), wanted).weave().release();
  });
}

void tlc_ts_free_capture(void* capture) noexcept { delete static_cast<Capture*>(capture); }

// Runs a capture on positional and named tensors; `result` is a list of parts for tlc_ts_part.
char* tlc_ts_run(const void* capture, at::Tensor* const* inputs, size_t n_inputs, const char* const* names,
                 at::Tensor* const* named, size_t n_named, void** result) noexcept {
  return guarded([&] {
    const auto* self = static_cast<const Capture*>(capture);
    const jit::Module& module = self->owner->module;
    jit::Stack stack{module._ivalue()};
    for (size_t i = 0; i < n_inputs; ++i) {
      stack.emplace_back(*inputs[i]);
    }
    std::unordered_map<std::string, c10::IValue> by_name;
    for (size_t i = 0; i < n_named; ++i) {
      by_name.emplace(names[i], *named[i]);
    }
    // Puts named arguments in their places and fills in defaults.
    module.get_method("forward").function().getSchema().checkAndNormalizeInputs(stack, by_name);
    self->function->run(stack);
    const auto both = stack.at(0).toTuple();
    auto parts = std::make_unique<std::vector<Part>>();
    hand_over(both->elements()[0], -1, 0, *parts);
    const auto lists = both->elements()[1].toTuple();
    for (size_t i = 0; i < self->layers.size(); ++i) {
      const auto calls = lists->elements()[i].toListRef();
      for (size_t call = 0; call < calls.size(); ++call) {
        hand_over(calls[call], static_cast<int64_t>(self->layers[i]), static_cast<int64_t>(call), *parts);
      }
    }
    *result = parts.release();
  });
}

size_t tlc_ts_n_parts(const void* result) noexcept { return static_cast<const std::vector<Part>*>(result)->size(); }

// The path lives as long as the result; the tensor is the caller's. A mark has null, and its path is a type.
void tlc_ts_part(const void* result, size_t at, int64_t* layer, int64_t* call, const char** path,
                 at::Tensor** tensor) noexcept {
  const Part& part = (*static_cast<const std::vector<Part>*>(result))[at];
  *layer = part.layer;
  *call = part.call;
  *path = part.path.c_str();
  *tensor = part.tensor.defined() ? new at::Tensor(part.tensor) : nullptr;
}

void tlc_ts_free_result(void* result) noexcept { delete static_cast<std::vector<Part>*>(result); }

}  // extern "C"
