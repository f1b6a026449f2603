//! Every problem goes out as a status and comes back the same; foreign statuses are judged by code alone.

use super::*;

#[test]
fn every_problem_survives_the_way() {
    for problem in Problem::ALL {
        let sent = status(*problem);
        assert_eq!(sent.code() as i32, problem.grpc().number(), "{problem}");
        assert_eq!(sent.message(), problem.sentence());
        assert_eq!(problem_of(&sent), Some(*problem));
        assert_eq!(failure_of(&sent), Failure::new(*problem));
    }
}

#[test]
fn every_problem_survives_http_headers() {
    for problem in Problem::ALL {
        let response = status(*problem).into_http::<()>();
        let received = Status::from_header_map(response.headers()).unwrap();
        assert_eq!(failure_of(&received), Failure::new(*problem));
    }
}

#[test]
fn fields_sentence_and_wait_come_along() {
    let failure = Failure::new(Problem::Invalid)
        .with_sentence("Choose a service.")
        .with_field("service", "This is not open on Mondays.")
        .with_field("note", "Shorten this.");
    assert_eq!(failure_of(&Status::from(failure.clone())), failure);
    let busy = Failure::new(Problem::Unavailable).with_retry_after(1500);
    assert_eq!(failure_of(&status(busy.clone())), busy);
    assert_eq!(busy.sentence(), Problem::Unavailable.sentence());
}

#[test]
fn only_what_may_be_retried_carries_a_wait() {
    for problem in Problem::ALL {
        let sent = status(Failure::new(*problem).with_retry_after(10));
        assert_eq!(
            sent.get_details_retry_info().is_some(),
            problem.retryable(),
            "{problem}"
        );
    }
    let odd = failure_of(&status(Failure::new(Problem::Unavailable).with_retry_after(-5)));
    assert_eq!(odd.retry_after_ms, Some(0));
    let long = failure_of(&status(
        Failure::new(Problem::Unavailable).with_retry_after(i64::MAX),
    ));
    assert_eq!(long.retry_after_ms, Some(RETRY_AFTER_MS_MAX));
}

#[test]
fn a_peer_cannot_make_us_show_a_book() {
    let long = "x".repeat(10_000);
    let mut details = ErrorDetails::new();
    details.set_error_info("invalid", DOMAIN, HashMap::new());
    for _ in 0..FIELDS_MAX * 4 {
        details.add_bad_request_violation(&long, &long);
    }
    let failure = failure_of(&Status::with_error_details(Code::InvalidArgument, &long, details));
    assert_eq!(failure.fields.len(), FIELDS_MAX);
    assert_eq!(failure.sentence().len(), SENTENCE_CHARS_MAX);
    assert!(
        failure
            .fields
            .iter()
            .all(|(f, s)| f.len() + s.len() == 2 * SENTENCE_CHARS_MAX)
    );

    let mut many = Failure::new(Problem::Invalid);
    for n in 0..FIELDS_MAX * 4 {
        many = many.with_field(n.to_string(), "Correct this.");
    }
    let sent = status(many).get_details_bad_request().unwrap();
    assert_eq!(sent.field_violations.len(), FIELDS_MAX);
}

#[test]
fn foreign_statuses_are_judged_by_code_and_their_text_is_dropped() {
    let table = [
        (Code::DeadlineExceeded, Problem::DeadlineExceeded),
        (Code::Cancelled, Problem::DeadlineExceeded),
        (Code::Unauthenticated, Problem::Unauthenticated),
        (Code::NotFound, Problem::NotFound),
        (Code::InvalidArgument, Problem::Invalid),
        (Code::OutOfRange, Problem::TooLarge),
        (Code::Unavailable, Problem::Unavailable),
        (Code::Internal, Problem::Unavailable),
        (Code::Unknown, Problem::Unavailable),
        (Code::Unimplemented, Problem::Unavailable),
    ];
    for (code, problem) in table {
        #[expect(
            clippy::disallowed_methods,
            reason = "a status that is not ours is what is tested"
        )]
        let foreign = Status::new(code, "upstream said: secret");
        assert_eq!(problem_of(&foreign), None);
        assert_eq!(failure_of(&foreign), Failure::new(problem), "{code:?}");
    }
}

#[test]
fn reasons_of_another_domain_or_list_are_not_ours() {
    let other = ErrorDetails::with_error_info("not_found", "elsewhere", HashMap::new());
    let unknown = ErrorDetails::with_error_info("brand_new", DOMAIN, HashMap::new());
    for details in [other, unknown] {
        let status = Status::with_error_details(Code::Unavailable, "text", details);
        assert_eq!(problem_of(&status), None);
        assert_eq!(failure_of(&status), Failure::new(Problem::Unavailable));
    }
}
