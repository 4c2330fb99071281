//! The SDKs, the contract and the templates are part of the program: build it again when one of them changes.

fn main() {
    for folder in ["../sdk", "../wit", "templates"] {
        println!("cargo:rerun-if-changed={folder}");
    }
}
