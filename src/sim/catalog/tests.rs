use super::*;

#[test]
fn the_built_in_files_are_sound() {
    let catalog = Catalog::built_in().unwrap();
    assert!(catalog.models().len() >= 25 && catalog.gpus().len() >= 14);
}
