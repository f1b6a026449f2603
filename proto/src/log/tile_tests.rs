//! Tiles: paths, what a growing log stores, proofs made from tiles alone, bundles, limits.

use super::proof::{Plan, verify_consistency, verify_inclusion};
use super::proof_tests::{Nodes, leaves};
use super::tile::*;
use super::tree::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::convert::Infallible;

fn tile(path: &str) -> Tile {
    path.parse().unwrap()
}

#[test]
fn paths_are_those_of_the_specification() {
    let last = (1_u64 << 54) - 1;
    for (kind, index, width, path) in [
        (TileKind::Hashes(0), 0, 256, "tile/0/000"),
        (TileKind::Hashes(0), 1_234_067, 256, "tile/0/x001/x234/067"),
        (TileKind::Entries, 1_234_067, 1, "tile/entries/x001/x234/067.p/1"),
        (TileKind::Hashes(2), 0, 1, "tile/2/000.p/1"),
        (TileKind::Hashes(1), 999, 255, "tile/1/999.p/255"),
        (TileKind::Hashes(1), 1_000, 9, "tile/1/x001/000.p/9"),
        (TileKind::Hashes(7), 0, 64, "tile/7/000.p/64"),
        (
            TileKind::Entries,
            last,
            256,
            "tile/entries/x018/x014/x398/x509/x481/983",
        ),
    ] {
        let made = Tile::new(kind, index, width).unwrap();
        assert_eq!((made.to_string().as_str(), tile(path)), (path, made));
        let parts = (made.kind(), made.index(), made.width(), made.is_partial());
        assert_eq!(parts, (kind, index, width, width < 256));
    }
    for (kind, index, width) in [
        (TileKind::Hashes(0), 0, 0),
        (TileKind::Hashes(0), 0, 257),
        (TileKind::Hashes(0), last + 1, 1),
        (TileKind::Hashes(0), u64::MAX, 256),
        (TileKind::Hashes(7), 0, 65),
        (TileKind::Hashes(8), 0, 1),
        (TileKind::Hashes(255), 0, 1),
    ] {
        assert_eq!(
            Tile::new(kind, index, width),
            Err(TileError::NoSuchTile),
            "{kind:?} {index} {width}"
        );
    }
    assert_eq!(tile("tile/1/999.p/255").full(), Some(tile("tile/1/999")));
    assert_eq!(tile("tile/7/000.p/64").full(), None);
}

#[test]
fn what_is_no_path_is_refused() {
    for bad in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/00a",
        "tile/00/000",
        "tile/+0/000",
        "tile/-1/000",
        "tile/8/000",
        "tile/64/000",
        "tile/data/000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/xx001/000",
        "tile/0/x001/+00",
        "tile/0/x01/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000.p/1/",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/8/0/000",
        "tile/0/../000",
        "tile/Entries/000",
    ] {
        assert_eq!(bad.parse::<Tile>(), Err(TileError::NoSuchTile), "{bad}");
    }
    assert_eq!("tile/0/x".repeat(99).parse::<Tile>(), Err(TileError::NoSuchTile));
}

/// The two examples of tlog-tiles.
#[test]
fn a_log_stores_the_tiles_that_the_specification_names() {
    let of = |size| Tile::grown(0, size).filter(|tile| tile.kind() != TileKind::Entries);
    let count = |size, level, partial| {
        let kind = TileKind::Hashes(level);
        of(size)
            .filter(|t| t.kind() == kind && t.is_partial() == partial)
            .count()
    };
    assert_eq!((count(70_000, 0, false), count(70_000, 0, true)), (273, 1));
    assert_eq!((count(70_000, 1, false), count(70_000, 1, true)), (1, 1));
    assert_eq!((count(70_000, 2, false), count(70_000, 2, true)), (0, 1));
    let partial: Vec<String> = of(70_000)
        .filter(|t| t.is_partial())
        .map(|t| t.to_string())
        .collect();
    assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
    let small: Vec<String> = Tile::grown(0, 256).map(|t| t.to_string()).collect();
    assert_eq!(small, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(Tile::grown(256, 256).count() + Tile::grown(257, 256).count(), 0);
    let grown: Vec<String> = Tile::grown(255, 257).map(|t| t.to_string()).collect();
    let entries = [
        "tile/entries/000",
        "tile/entries/001.p/1",
        "tile/0/000",
        "tile/0/001.p/1",
        "tile/1/000.p/1",
    ];
    assert_eq!(grown, entries);
}

/// A store that is written as the log grows, and never read but by tiles.
#[derive(Default)]
struct Stored {
    frontier: Frontier,
    nodes: BTreeMap<Node, Hash>,
    tiles: BTreeMap<String, Vec<u8>>,
}

impl Stored {
    fn grow(&mut self, leaves: &[Hash]) {
        let old_size = self.frontier.size();
        for leaf in leaves {
            let write = |node: Node, hash| {
                if node.level.is_multiple_of(TILE_HEIGHT) {
                    self.nodes.insert(node, hash);
                }
            };
            self.frontier.append(*leaf, write).unwrap();
        }
        for tile in Tile::grown(old_size, self.frontier.size()).filter(|t| t.kind() != TileKind::Entries) {
            let bytes = tile.bytes(|node| Ok::<_, Infallible>(self.nodes[&node])).unwrap();
            assert_eq!(bytes.len(), usize::from(tile.width()) * 32);
            self.tiles.insert(tile.to_string(), bytes);
        }
    }

    fn fetch(&self, plan: &Plan, size: u64) -> Vec<Hash> {
        let mut tiles = Tiles::of(size);
        for tile in tiles.missing(plan).unwrap() {
            // A tile that has filled up since may stand for the partial one.
            let served = [Some(tile), tile.full()].into_iter().flatten();
            let mut found = served.filter_map(|t| self.tiles.get(&t.to_string()).map(|bytes| (t, bytes)));
            let (tile, bytes) = found.next().unwrap();
            tiles.put(tile, bytes).unwrap();
        }
        assert_eq!(tiles.missing(plan), Ok(vec![]));
        plan.hashes(|node| tiles.read(node)).unwrap()
    }
}

#[test]
fn proofs_are_made_from_tiles_alone() {
    let all = leaves(66_000);
    let mut stored = Stored::default();
    let mut heads = vec![];
    let sizes = [1, 2, 255, 256, 257, 1_000, 65_535, 65_536, 65_537, 66_000];
    for size in sizes {
        let begun = usize::try_from(stored.frontier.size()).unwrap();
        stored.grow(&all[begun..size]);
        heads.push(stored.frontier.head());
    }
    for head in &heads {
        let roots = stored.fetch(&Plan::root(head.size).unwrap(), head.size);
        assert_eq!(roots, [head.root]);
        for index in [0, 1, 254, 255, 256, 999, 65_535, 65_536, head.size - 1] {
            let Ok(plan) = Plan::inclusion(index, head.size) else {
                continue;
            };
            let proof = stored.fetch(&plan, head.size);
            let leaf = all[usize::try_from(index).unwrap()];
            assert_eq!(verify_inclusion(head, index, &leaf, &proof), Ok(()));
        }
        for old in heads.iter().filter(|old| old.size <= head.size) {
            let proof = stored.fetch(&Plan::consistency(old.size, head.size).unwrap(), head.size);
            assert_eq!(verify_consistency(old, head, &proof), Ok(()));
        }
    }
}

#[test]
fn tiles_that_do_not_fit_are_refused() {
    let size = 300;
    let nodes = Nodes::over(leaves(size));
    let read = |node| Ok::<_, Infallible>(nodes.read(node));
    let mut tiles = Tiles::of(size);
    let first = Node { level: 0, index: 0 };
    assert_eq!(tiles.read(first), Err(TileError::Missing));
    let full = tile("tile/0/000").bytes(read).unwrap();
    for (path, bytes, error) in [
        ("tile/0/000", &full[1..], TileError::Damaged),
        ("tile/0/000", &full[32..], TileError::Damaged),
        (
            "tile/0/000",
            &[full.clone(), vec![0; 32]].concat()[..],
            TileError::Damaged,
        ),
        ("tile/0/000.p/44", &full[..44 * 32], TileError::Damaged),
        ("tile/0/001.p/43", &full[..43 * 32], TileError::Damaged),
        ("tile/0/002.p/44", &full[..44 * 32], TileError::NoSuchTile),
        ("tile/2/000.p/1", &full[..32], TileError::NoSuchTile),
        ("tile/entries/000", &full[..], TileError::NoSuchTile),
    ] {
        assert_eq!(tiles.put(tile(path), bytes), Err(error), "{path}");
    }
    tiles.put(tile("tile/0/000"), &full).unwrap();
    // Wider than this tree: cut, so that no node beyond it can be read.
    tiles.put(tile("tile/0/001.p/50"), &full[..50 * 32]).unwrap();
    let last = Node { level: 0, index: 299 };
    assert_eq!(
        tiles.read(last),
        Ok(Hash(full[43 * 32..44 * 32].try_into().unwrap()))
    );
    for (level, index) in [(0, 300), (1, 150), (8, 1), (8, u64::MAX), (63, 1), (255, 0)] {
        let node = Node { level, index };
        assert_eq!(tiles.read(node), Err(TileError::NoSuchTile), "{node:?}");
        assert_eq!(Tile::holding(node, size), None);
    }
    assert_eq!(
        tiles.read(Node { level: 7, index: 1 }),
        Ok(nodes.read(Node { level: 7, index: 1 }))
    );
    assert_eq!(
        tiles.missing(&Plan::root(301).unwrap()),
        Err(TileError::NoSuchTile)
    );
}

#[test]
fn bundles_hold_1_to_256_entries_of_at_most_65_535_bytes() {
    let long = vec![1; ENTRY_BYTES_MAX];
    let made = bundle([b"a".as_slice(), b"", &long]).unwrap();
    assert_eq!(made[..5], [0, 1, b'a', 0, 0]);
    let of = |width| Tile::new(TileKind::Entries, 0, width).unwrap();
    assert_eq!(entries(of(3), &made).unwrap(), [b"a".as_slice(), b"", &long]);
    for width in [1, 2, 4, 256] {
        assert_eq!(entries(of(width), &made), Err(TileError::Damaged));
    }
    assert_eq!(entries(of(3), &made[..made.len() - 1]), Err(TileError::Damaged));
    assert_eq!(
        bundle([vec![1; ENTRY_BYTES_MAX + 1].as_slice()]),
        Err(TileError::TooLarge)
    );
    assert_eq!(bundle([]), Err(TileError::Damaged));
    assert!(bundle([b"".as_slice(); 256]).is_ok());
    assert_eq!(bundle([b"".as_slice(); 257]), Err(TileError::Damaged));
}

/// The other implementation's paths name the height too: `tile/8/0/000` is `tile/0/000` here.
fn of_other(tile: tlog_tiles::Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn another_implementation_stores_and_finds_the_same_tiles(old in 0_u64..70_000, more in 0_u64..3_000, level in 0_u8..16, index in any::<prop::sample::Index>()) {
        let size = old + more;
        let mut theirs: Vec<String> = tlog_tiles::Tile::new_tiles(8, old, size).into_iter().map(of_other).collect();
        let ours = Tile::grown(old, size).filter(|t| t.kind() != TileKind::Entries);
        let mut ours: Vec<String> = ours.map(|t| t.to_string()).collect();
        theirs.sort();
        ours.sort();
        prop_assert_eq!(ours, theirs);
        if size >> level == 0 {
            return Ok(());
        }
        let index = index.index(usize::try_from(size >> level).unwrap()) as u64;
        let held = Tile::holding(Node { level, index }, size).unwrap();
        let narrow = tlog_tiles::Tile::from_index(8, tlog_tiles::stored_hash_index(level, index));
        let parts = (TileKind::Hashes(narrow.level()), narrow.level_index());
        prop_assert_eq!((held.kind(), held.index()), parts);
        prop_assert!(u32::from(held.width()) >= narrow.width());
    }

    #[test]
    fn paths_are_read_as_written(entries in any::<bool>(), level in 0_u8..7, index in 0_u64..1 << 54, width in 1_u16..=256) {
        let kind = if entries { TileKind::Entries } else { TileKind::Hashes(level) };
        if let Ok(tile) = Tile::new(kind, index >> (if entries { 0 } else { level * 8 }), width) {
            prop_assert_eq!(tile.to_string().parse(), Ok(tile));
        }
    }

    #[test]
    fn any_path_is_refused_or_written_the_same(path in "tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,3}[x0-9]{2,4}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = path.parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), path);
        }
    }

    #[test]
    fn any_bundle_is_refused_or_made_the_same(bytes in prop::collection::vec(0_u8..4, 0..40), width in 1_u16..6) {
        let tile = Tile::new(TileKind::Entries, 0, width).unwrap();
        if let Ok(read) = entries(tile, &bytes) {
            prop_assert_eq!(bundle(read), Ok(bytes));
        }
    }
}
