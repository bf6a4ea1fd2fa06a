//! Compiles the migrations in anew when one is added; the macro by itself notices only those it already knows.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
