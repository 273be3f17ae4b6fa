"""Training LoRAs. Knows no table, no service and no setting: gets values and folders."""
