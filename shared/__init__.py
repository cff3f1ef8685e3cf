"""What is called: values, ports, judgement, proof, adapters. Never imports `functions`."""
