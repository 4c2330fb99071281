//! Tradewind: runs WebAssembly action plugins for commerce platforms.
