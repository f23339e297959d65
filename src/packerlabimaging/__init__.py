"""packerlabimaging: from the rig's raw files of an imaging+ experiment to results."""
