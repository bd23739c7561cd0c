//! `include_dir!` sees changed files, but not new ones: a migration that was added would wait for another change.
fn main() {
    println!("cargo::rerun-if-changed=schemas/clickhouse");
}
