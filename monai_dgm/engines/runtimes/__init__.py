"""Other runtimes than PyTorch for the networks: OpenVINO and ONNX Runtime, and the exported graphs that they run.

May import the pipeline and everything of the engines that loads a single model.
"""
