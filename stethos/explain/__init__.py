"""What a score rests on: exact Shapley values of the waves of an ECG, for one recording and for a cohort."""
