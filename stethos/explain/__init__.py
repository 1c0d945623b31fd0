"""What a score rests on: exact Shapley values of the waves of an ECG, and occlusion of the spectrogram of a sound."""
