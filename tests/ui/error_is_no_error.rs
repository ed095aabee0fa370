//~ `OrderError` cannot be the error of a redrive handler
//~ implement `std::error::Error` for it
enum OrderError {}

async fn place(_: redrive::Body) -> Result<(), OrderError> {
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::run(place).await
}
