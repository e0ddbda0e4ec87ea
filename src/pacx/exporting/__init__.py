"""An encoder folder to what others run: ONNX graphs, their parity with torch, a card."""
