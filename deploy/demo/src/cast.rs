//! Who plays in the demo: six machines, synthetic people. Read by `network` and `story`.
//! Nobody here exists; never put a real person's particulars in.

/// An organisation of the demo network.
#[derive(Clone, Copy, Debug)]
pub struct Org {
    /// Its id in the network.
    pub id: &'static str,
    /// Its display name.
    pub name: &'static str,
    /// Its kind, as `kith-gateway invite --kind` takes it.
    pub kind: &'static str,
    /// The languages it names in its one published service.
    pub languages: &'static [&'static str],
    /// What that service is called.
    pub service: &'static str,
    /// The purpose that service serves, as a word.
    pub purpose: &'static str,
}

/// The demo network's name.
pub const NETWORK: &str = "lune-valley.example";

/// The GP practice.
pub const GP: Org = Org {
    id: "riverside-gp",
    name: "Riverside GP practice",
    kind: "gp",
    languages: &["en"],
    service: "New patient health check",
    purpose: "care",
};
/// The primary school.
pub const SCHOOL: Org = Org {
    id: "hillcrest-school",
    name: "Hillcrest primary school",
    kind: "school",
    languages: &["en"],
    service: "School places and home visits",
    purpose: "education",
};
/// The settlement service.
pub const SETTLEMENT: Org = Org {
    id: "harbour-welcome",
    name: "Harbour Welcome",
    kind: "settlement",
    languages: &["en", "ar", "fa-AF", "uk"],
    service: "Settling in: housing, forms, English classes",
    purpose: "settlement",
};
/// The peer group.
pub const PEERS: Org = Org {
    id: "tigrinya-womens-circle",
    name: "Tigrinya Women's Circle",
    kind: "peer_group",
    languages: &["ti", "en"],
    service: "Tuesday tea and company",
    purpose: "peer_support",
};
/// The faith group.
pub const MOSQUE: Org = Org {
    id: "hope-street-mosque",
    name: "Hope Street Mosque",
    kind: "faith_group",
    languages: &["ar", "en"],
    service: "Food parcels and friendly visits",
    purpose: "practical_help",
};

/// Every organisation, in the order they join.
pub const ORGS: [Org; 5] = [GP, SCHOOL, SETTLEMENT, PEERS, MOSQUE];

/// What people say in the story, in free text. It may reach the organisations concerned and nobody else, so the network
/// tests search for it in everything that the gateway reads, writes and keeps.
pub mod said {
    /// How a person says, in their own words, what they agreed to.
    pub const UNDERSTOOD: &str = "They may know my name and what I asked for; I can stop it.";
    /// Selam's wish.
    pub const TEA: &str = "Company and tea on Tuesdays, with someone who speaks Tigrinya.";
    /// What the circle writes back about her.
    pub const CAME: &str = "She came on Tuesday and stayed until the lamps were lit.";
    /// What the practice answers.
    pub const GLAD: &str = "She told the nurse that she slept well after it.";
    /// With what words the circle closes it.
    pub const SETTLED: &str = "She comes every week now and pours the coffee herself.";
    /// Yusuf's need.
    pub const PARCEL: &str = "A food parcel each week until his first pay.";
    /// Letesh's wish.
    pub const CLASS: &str = "Somebody to go to the first English class with.";
    /// Amal's wish.
    pub const AMAL: &str = "Company on the long evenings.";
    /// What Amal did not agree to share.
    pub const HEALTH: &str = "Diabetes, tablets twice a day.";
    /// Dawit's need.
    pub const COAT: &str = "A winter coat.";
    /// What Letesh asks of the practice.
    pub const DOCTOR: &str =
        "She has not seen a doctor since she arrived and would like to, with a woman interpreter.";
    /// What Hamid's school asks.
    pub const MEALS: &str = "Help for the family with the form for free school meals.";
    /// All of it.
    pub const ALL: [&str; 12] = [
        UNDERSTOOD, TEA, CAME, GLAD, SETTLED, PARCEL, CLASS, AMAL, HEALTH, COAT, DOCTOR, MEALS,
    ];
}

/// A synthetic person.
#[derive(Clone, Copy, Debug)]
pub struct Person {
    /// How the person wants to be called, in their own script.
    pub name: &'static str,
    /// The first language, BCP 47.
    pub language: &'static str,
    /// A birth date as far as it is known; empty when it is not.
    pub born: &'static str,
    /// A telephone number from the range kept for fiction; empty when there is none.
    pub phone: &'static str,
}

/// A woman with two names in Ge'ez script and a year of birth only.
pub const SELAM: Person = person("ሰላም ተስፋይ", "ti", "1991", "07700 900118");
/// A man with one name, in Arabic script, and no birth date.
pub const YUSUF: Person = person("يوسف", "ar", "", "");
/// A woman with a Cyrillic name.
pub const OKSANA: Person = person("Оксана Коваль", "uk", "1984-05-02", "07700 900461");
/// A child with a single Latin name.
pub const HAMID: Person = person("Hamid", "fa-AF", "2016", "");
/// A woman with an Arabic name.
pub const AMAL: Person = person("أمل الحسن", "ar", "1979", "07700 900732");
/// A woman whom the peer group refers to the GP.
pub const LETESH: Person = person("ለተሽ", "ti", "", "07700 900205");
/// A man who changes his mind.
pub const DAWIT: Person = person("Dawit", "ti", "1999", "");

const fn person(
    name: &'static str,
    language: &'static str,
    born: &'static str,
    phone: &'static str,
) -> Person {
    Person {
        name,
        language,
        born,
        phone,
    }
}
