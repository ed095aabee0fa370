//~ are not the arguments of a redrive batch handler
//~ a batch handler is an `async fn(Vec<E>)`
async fn place(_: redrive::Body) -> Vec<redrive::Outcome> {
    Vec::new()
}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::batch(place).run().await
}
