//! The languages of the pages, and which one somebody wants. Called by the edge for each request.
//! Never guesses from an address or a name.

/// The direction of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Left to right.
    Ltr,
    /// Right to left.
    Rtl,
}

impl Direction {
    /// As HTML writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ltr => "ltr",
            Self::Rtl => "rtl",
        }
    }
}

/// A language of the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Language {
    /// English, in which every text is written first.
    En,
    /// Arabic.
    Ar,
    /// Dari.
    FaAf,
    /// Ukrainian.
    Uk,
    /// Tigrinya.
    Ti,
}

impl Language {
    /// Every language, in the order in which they are offered.
    pub const ALL: [Self; 5] = [Self::En, Self::Ar, Self::FaAf, Self::Uk, Self::Ti];

    /// Its tag (BCP 47).
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Ar => "ar",
            Self::FaAf => "fa-AF",
            Self::Uk => "uk",
            Self::Ti => "ti",
        }
    }

    /// The locale by which its days and numbers are written.
    pub const fn locale(self) -> &'static str {
        match self {
            Self::En => "en-GB",
            other => other.tag(),
        }
    }

    /// What it calls itself.
    pub const fn own_name(self) -> &'static str {
        match self {
            Self::En => "English",
            Self::Ar => "العربية",
            Self::FaAf => "دری",
            Self::Uk => "Українська",
            Self::Ti => "ትግርኛ",
        }
    }

    /// The direction that it is written in.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Ar | Self::FaAf => Direction::Rtl,
            Self::En | Self::Uk | Self::Ti => Direction::Ltr,
        }
    }

    /// Whether its texts were made by a machine and read by nobody yet: pages say so.
    pub const fn is_draft(self) -> bool {
        !matches!(self, Self::En)
    }

    /// The language of a tag that this program wrote itself.
    pub fn of_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }

    /// The language of a tag as a browser writes it: any kind of Persian is Dari here.
    fn of_browser(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or(tag);
        match primary.to_ascii_lowercase().as_str() {
            "en" => Some(Self::En),
            "ar" => Some(Self::Ar),
            "fa" | "prs" => Some(Self::FaAf),
            "uk" => Some(Self::Uk),
            "ti" => Some(Self::Ti),
            _ => None,
        }
    }

    /// What a browser's `Accept-Language` asks for: of the known ones that with the highest weight, the first of equal ones. English
    /// where it asks for none of them.
    pub fn accepted(header: &str) -> Self {
        let mut best: Option<(u16, Self)> = None;
        for part in header.split(',').take(ACCEPTED_MAX) {
            let mut pieces = part.split(';');
            let tag = pieces.next().unwrap_or_default().trim();
            let weight = pieces
                .find_map(|piece| piece.trim().strip_prefix("q="))
                .map_or(Some(1_000), thousandths)
                .unwrap_or_default();
            if let Some(language) = Self::of_browser(tag)
                && weight > 0
                && best.is_none_or(|(most, _)| weight > most)
            {
                best = Some((weight, language));
            }
        }
        best.map_or(Self::En, |(_, language)| language)
    }
}

/// Most languages of a header that are looked at.
const ACCEPTED_MAX: usize = 32;

/// A weight between 0 and 1, in thousandths; none for what is no weight.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    if rest.len() > 3 {
        return None;
    }
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 1)?;
    let rest: u16 = format!("{rest:0<3}").parse().ok()?;
    Some((whole * 1_000 + rest).min(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_language_that_it_wants_most() {
        for (header, language) in [
            ("", Language::En),
            ("de, fr;q=0.9", Language::En),
            ("ar-SD,ar;q=0.9,en;q=0.8", Language::Ar),
            ("de,uk;q=0.7,en;q=0.3", Language::Uk),
            ("en;q=0.3,ti;q=0.35", Language::Ti),
            ("prs", Language::FaAf),
            ("fa-IR;q=1.0, en", Language::FaAf),
            ("ar;q=0, uk;q=0.1", Language::Uk),
            ("ar;q=x, ti;q=2, uk;q=0.0001", Language::En),
        ] {
            assert_eq!(Language::accepted(header), language, "{header}");
        }
        for language in Language::ALL {
            assert_eq!(Language::of_tag(language.tag()), Some(language));
        }
        assert_eq!(Language::of_tag("de"), None);
    }
}
