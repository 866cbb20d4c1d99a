"""Sources of radiographs as MONAI datalists, the decode-once cache, and the simulator."""
