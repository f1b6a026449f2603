//! What the pages of a node and of a gateway are made of: languages, words, the frame of a page, parts of forms, cookies, and what keeps
//! other sites away. Server-rendered; everything works without JavaScript.
//! Never knows what a page is about; never puts a text into a page without escaping it.
//!
//! | module | what it gives |
//! |---|---|
//! | [`language`] | the languages, and which one somebody wants |
//! | [`words`] | texts from Fluent files, with numbers and days as the language writes them |
//! | [`page`] | the frame: skip link, menu, drafts notice, languages, "not for emergencies" |
//! | [`form`] | fields with their labels, hints and faults; the summary of faults |
//! | [`protect`] | headers, cookies, and whether a form was sent from a page of one's own |
//! | [`own`] | the style sheet and the little script |

pub mod form;
pub mod language;
pub mod own;
pub mod page;
pub mod protect;
pub mod words;
