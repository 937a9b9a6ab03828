"""ReCo: segmentation from a few labelled pictures, a mean teacher's pseudo labels and regional contrast."""
