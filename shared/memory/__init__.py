"""In-process twin of every port that Google's services stand behind; the same contract tests run over both."""
