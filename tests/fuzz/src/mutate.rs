//! Changed inputs for a replay: the same from the same seed, everywhere and always.
//! Only the replay uses it; a long run lets libFuzzer choose by coverage.
//! Never draw from anything but the state here.

/// Pieces that mean something to one parser or another.
const PIECES: &[&[u8]] = &[
    b"kith1.",
    b"-",
    b"--",
    b"@",
    b".",
    b" ",
    b"\n",
    b"/",
    b"\0",
    b"A1234567",
    b"1234-5678-9012-3456",
    b"visa ",
    "\u{200b}".as_bytes(),
    "\u{202e}".as_bytes(),
    "٣".as_bytes(),
    "๙".as_bytes(),
    "０".as_bytes(),
    "𝟘".as_bytes(),
    "ß".as_bytes(),
    &[0x80],
    &[0xff],
    &[0xff; 9],
    &[0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x10],
    &[0; 16],
    &[1; 32],
];
/// No changed input is longer.
const BYTES_MAX: usize = 16 << 10;

/// SplitMix64: small, and good enough to choose places.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Begins from a name and a number.
    pub fn new(name: &str, round: u64) -> Self {
        let named = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(named ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

/// One of the seeds with one to four changes.
pub fn mutated(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut data = seeds.get(dice.below(seeds.len())).cloned().unwrap_or_default();
    for _ in 0..=dice.below(4) {
        change(&mut data, seeds, dice);
    }
    data.truncate(BYTES_MAX);
    data
}

fn change(data: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.below(data.len());
    let long = dice.below(4) == 0;
    let length = 1 + dice.below(if long { 64 } else { 4 });
    let end = data.len().min(at.saturating_add(length));
    match dice.below(8) {
        0 | 1 => {
            let mask = if dice.below(2) == 0 {
                1 << dice.below(8)
            } else {
                dice.byte()
            };
            if let Some(byte) = data.get_mut(at) {
                *byte ^= mask;
            }
        }
        2 => drop(data.drain(at..end)),
        3 => {
            let copy = data.get(at..end).map(<[u8]>::to_vec).unwrap_or_default();
            data.splice(at..at, copy);
        }
        4 => {
            let other = seeds.get(dice.below(seeds.len())).cloned().unwrap_or_default();
            let from = dice.below(other.len());
            let to = other.len().min(from.saturating_add(length * 4));
            data.splice(at..at, other.get(from..to).unwrap_or_default().iter().copied());
        }
        5 => {
            let piece = PIECES.get(dice.below(PIECES.len())).copied().unwrap_or_default();
            data.splice(at..at, piece.iter().copied());
        }
        6 => {
            let piece = PIECES.get(dice.below(PIECES.len())).copied().unwrap_or_default();
            data.splice(at..end, piece.iter().copied());
        }
        _ => data.truncate(if dice.below(4) == 0 { at } else { data.len() }),
    }
}
