//~ a redrive batch handler cannot return `Outcome`
//~ return `Vec<O>`
async fn place(_: Vec<redrive::Body>) -> redrive::Outcome {
    redrive::Outcome::Done
}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::batch(place).run().await
}
