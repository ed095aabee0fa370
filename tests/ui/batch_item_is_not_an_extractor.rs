//~ `Order` cannot be an argument of a redrive handler
//~ take a body as `redrive::Json<Order>`
struct Order {}

async fn place(orders: Vec<Order>) -> Vec<redrive::Outcome> {
    vec![redrive::Outcome::Done; orders.len()]
}

#[tokio::main]
async fn main() -> Result<(), redrive::Error> {
    redrive::batch(place).run().await
}
