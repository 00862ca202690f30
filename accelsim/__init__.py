"""accelsim: a cycle-level simulator of a systolic-array DNN accelerator with a matching compiler."""
