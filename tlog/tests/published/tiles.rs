//! Stored tiles: built while the log grows, and checked against the definition.

use std::collections::BTreeMap;

use eventstore::{Error, Position, Session};
use tlog::{PAGE, TlogError};
use transparency::Hash;
use transparency::tile::{Level, Tile, encode_entries};

use crate::backend::{Backend, entry, root};

on_every_backend! {
    the_tiles_of_a_growing_log_are_the_tiles_of_the_definition,
    tiles_that_were_removed_are_computed_again,
    tiles_of_another_log_are_not_extended,
    two_processes_that_extend_at_the_same_time_make_the_same_tiles,
    a_missing_event_is_reported,
}

/// Returns all tiles of a log, built in memory.
fn expected(size: u64) -> BTreeMap<Tile, Vec<u8>> {
    let mut files = BTreeMap::new();
    for tile in Tile::of_tree(size).filter(|tile| tile.level() == Level::Entries) {
        let entries = (tile.start()..tile.start() + u64::from(tile.width())).map(entry);
        files.insert(tile, encode_entries(entries).unwrap());
    }
    for tile in Tile::of_tree(size) {
        let content = tile.build(&mut files).unwrap();
        files.insert(tile, content);
    }
    files
}

async fn the_tiles_of_a_growing_log_are_the_tiles_of_the_definition(mut backend: Backend) {
    let tiles = backend.tiles();
    assert_eq!(tiles.root(0).await.unwrap(), Hash::EMPTY_ROOT);
    // The last size has a tile of level 2.
    for size in [1, 255, 256, 257, 600, PAGE + 255, 66_000] {
        backend.grow(size).await;
        let mut pages = 1;
        while !tiles.extend(size).await.unwrap() {
            pages += 1;
        }
        assert!(pages <= size.div_ceil(PAGE), "{pages}");
        assert_eq!(tiles.root(size).await.unwrap(), root(size), "{size}");
        for (tile, content) in expected(size) {
            // All tiles of the higher levels, and some of the many others.
            let is_low = matches!(tile.level(), Level::Entries | Level::Hashes(0));
            if !is_low || size < 1000 || tile.index().is_multiple_of(50) || tile.is_partial() {
                assert_eq!(tiles.content(&tile).await.unwrap(), content, "{tile} of {size}");
            }
        }
    }
    for size in [1, 256, 300, 65_536, 65_535] {
        assert_eq!(tiles.root(size).await.unwrap(), root(size), "{size}");
    }
}

async fn tiles_that_were_removed_are_computed_again(mut backend: Backend) {
    let size = PAGE + 300;
    backend.grow(size).await;
    backend.extend().await.unwrap();
    let before = rows(&backend).await;
    assert_eq!(backend.execute("DELETE FROM log_tiles").await, 1);
    let damaged = backend.tiles().root(size).await;
    assert!(matches!(damaged, Err(TlogError::Tiles { .. })), "{damaged:?}");
    backend.extend().await.unwrap();
    assert_eq!(rows(&backend).await, before);
    assert_eq!(backend.tiles().root(size).await.unwrap(), root(size));
}

async fn rows(backend: &Backend) -> Vec<(i64, Vec<u8>)> {
    let mut connection = backend.database.reader().await.unwrap();
    let rows = connection
        .query("SELECT tile, hashes FROM log_tiles ORDER BY level, tile")
        .fetch_all()
        .await
        .unwrap();
    rows.iter()
        .map(|row| (row.get(0).unwrap(), row.get(1).unwrap()))
        .collect()
}

async fn tiles_of_another_log_are_not_extended(mut backend: Backend) {
    backend.grow(600).await;
    backend.extend().await.unwrap();
    // The log was rewritten: its hashes differ from some position on.
    let position = 512;
    let other = "SELECT hash FROM (SELECT hash FROM events WHERE position = 1) AS first";
    backend
        .execute(&format!(
            "UPDATE events SET hash = ({other}) WHERE position = {position}"
        ))
        .await;
    backend.grow(800).await;
    let extended = backend.extend().await;
    assert!(matches!(extended, Err(TlogError::Tiles { .. })), "{extended:?}");
    assert_eq!(
        rows(&backend).await[0].1.len(),
        2 * Hash::LEN,
        "no hash was added"
    );
    // The log was restored from an old backup, but the tiles were not.
    backend.execute("DELETE FROM events WHERE position > 400").await;
    let extended = backend.tiles().extend(400).await;
    let covered = matches!(
        extended,
        Err(TlogError::TilesBeyond {
            covered: 512,
            size: 400,
            ..
        })
    );
    assert!(covered, "{extended:?}");
}

async fn two_processes_that_extend_at_the_same_time_make_the_same_tiles(mut backend: Backend) {
    let size = 4 * PAGE + 1;
    backend.grow(size).await;
    let extend = async || loop {
        match backend.tiles().extend(size).await {
            Ok(true) => break,
            // A database error means that both have inserted the same row, or waited for each other.
            Ok(false) | Err(TlogError::Overtaken(_) | TlogError::Store(Error::Database(_))) => {}
            Err(error) => panic!("{error}"),
        }
    };
    futures::join!(extend(), extend(), extend());
    assert_eq!(backend.tiles().root(size).await.unwrap(), root(size));
    backend.execute("DELETE FROM log_tiles").await;
    backend.extend().await.unwrap();
    assert_eq!(backend.tiles().root(size).await.unwrap(), root(size));
}

async fn a_missing_event_is_reported(mut backend: Backend) {
    backend.grow(600).await;
    backend.execute("DELETE FROM events WHERE position = 300").await;
    let missing = |error: TlogError| {
        let TlogError::Store(Error::Damaged { position, .. }) = error else {
            panic!("{error}")
        };
        assert_eq!(position, Position::new(300).unwrap());
    };
    missing(backend.extend().await.unwrap_err());
    let tile = Tile::new(Level::Entries, 1, 200).unwrap();
    missing(backend.tiles().content(&tile).await.unwrap_err());
    let beyond = Tile::new(Level::Entries, 2, 200).unwrap();
    backend.tiles().content(&beyond).await.unwrap_err();
}
