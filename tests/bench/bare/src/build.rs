//! Generates the three-method Relay service without protoc (messages are hand-derived prost structs in grpc.rs).
fn main() {
    let m = |name: &str, route: &str, i: &str, o: &str, cs: bool, ss: bool| {
        let mut b = tonic_build::manual::Method::builder()
            .name(name)
            .route_name(route)
            .input_type(i)
            .output_type(o)
            .codec_path("tonic_prost::ProstCodec");
        if cs {
            b = b.client_streaming();
        }
        if ss {
            b = b.server_streaming();
        }
        b.build()
    };
    let svc = tonic_build::manual::Service::builder()
        .name("Relay")
        .package("bare")
        .method(m("echo", "Echo", "crate::grpc::Envelope", "crate::grpc::Ack", true, true))
        .method(m("attach", "Attach", "crate::grpc::Ack", "crate::grpc::Envelope", true, true))
        .build();
    tonic_build::manual::Builder::new().compile(&[svc]);
    println!("cargo:rerun-if-changed=src/build.rs");
}
