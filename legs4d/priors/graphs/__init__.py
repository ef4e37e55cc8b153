"""Networks as data: read from ONNX, TensorFlow Lite and TensorFlow.js, kept as safetensors, run in torch."""
