//~ a redrive handler cannot return `u32`
//~ return `()`, `redrive::Outcome`, `Result<(), E>` or `Result<redrive::Outcome, E>`
async fn place(_: redrive::Body) -> u32 {
    7
}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::run(place).await
}
