//~ Order
//~ Deserialize
struct Order {}

async fn place(_: redrive::Json<Order>) {}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::run(place).await
}
