//~ a redrive handler cannot return `Result<u32, String>`
//~ return `()`, `redrive::Outcome`, `Result<(), E>` or `Result<redrive::Outcome, E>`
async fn place(_: redrive::Body) -> Result<u32, String> {
    Ok(7)
}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::handler(place).run().await
}
