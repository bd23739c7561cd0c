//! The plan of the simulated company: its units, roles and features. Tables to read, nothing to compute.

/// Phases in the order of their go-lives, each with the share of the simulated days that has passed by then.
pub const PHASES: [(&str, &str, f64); 3] = [
    ("pilot", "Pilot", 0.0),
    ("extension", "Extension", 0.25),
    ("company-wide", "Company-wide", 0.5),
];

/// When the people of a unit work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shift {
    Office,
    /// Every second person works the late shift, which ends after midnight.
    LateToo,
    /// A machine: at every hour of every day.
    RoundTheClock,
}

pub struct Unit {
    pub name: &'static str,
    /// Share of the people, relative to the other units.
    pub weight: f64,
    pub sites: &'static [&'static str],
    /// Index into [`PHASES`].
    pub phase: usize,
    pub shift: Shift,
    /// Index into [`ROLES`], with the share of the unit's people.
    pub roles: &'static [(usize, f64)],
}

/// The unit that stays below the minimum group size, however large the company is; it comes on top of [`UNITS`].
pub static TINY_UNIT: Unit = Unit {
    name: "Legal",
    weight: 0.0,
    sites: &["Shanghai"],
    phase: 2,
    shift: Shift::Office,
    roles: &[(ACCOUNTANT, 0.7), (APPROVER, 0.3)],
};
pub const TINY_UNIT_PEOPLE: usize = 7;

pub static UNITS: [Unit; 9] = [
    Unit {
        name: "Finance",
        weight: 10.0,
        sites: &["Shanghai"],
        phase: 0,
        shift: Shift::Office,
        roles: &[(ACCOUNTANT, 0.8), (APPROVER, 0.2)],
    },
    Unit {
        name: "IT",
        weight: 4.0,
        sites: &["Shanghai"],
        phase: 0,
        shift: Shift::Office,
        roles: &[(ADMINISTRATOR, 0.6), (ANALYST, 0.4)],
    },
    Unit {
        name: "研发中心",
        weight: 7.0,
        sites: &["Suzhou"],
        phase: 0,
        shift: Shift::Office,
        roles: &[(ANALYST, 0.7), (BUYER, 0.2), (APPROVER, 0.1)],
    },
    Unit {
        name: "Sales",
        weight: 20.0,
        sites: &["Shanghai", "Beijing", "Chengdu"],
        phase: 1,
        shift: Shift::Office,
        roles: &[(SELLER, 0.88), (SALES_MANAGER, 0.12)],
    },
    Unit {
        name: "Purchasing",
        weight: 8.0,
        sites: &["Shanghai", "Suzhou"],
        phase: 1,
        shift: Shift::Office,
        roles: &[(BUYER, 0.85), (APPROVER, 0.15)],
    },
    Unit {
        name: "Logistics",
        weight: 12.0,
        sites: &["Suzhou"],
        phase: 1,
        shift: Shift::LateToo,
        roles: &[(WAREHOUSE_CLERK, 0.9), (FOREMAN, 0.1)],
    },
    Unit {
        name: "Plant Suzhou",
        weight: 24.0,
        sites: &["Suzhou"],
        phase: 2,
        shift: Shift::LateToo,
        roles: &[(SHIFT_WORKER, 0.85), (FOREMAN, 0.1), (WAREHOUSE_CLERK, 0.05)],
    },
    Unit {
        name: "Customer Service",
        weight: 11.0,
        sites: &["Chengdu"],
        phase: 2,
        shift: Shift::Office,
        roles: &[(SERVICE_AGENT, 1.0)],
    },
    Unit {
        name: "Human Resources",
        weight: 4.0,
        sites: &["Shanghai", "Chengdu"],
        phase: 2,
        shift: Shift::Office,
        roles: &[(HR_OFFICER, 0.8), (APPROVER, 0.2)],
    },
];

/// Role and tier.
pub const ROLES: [(&str, &str); 12] = [
    ("accountant", "operator"),
    ("approver", "management"),
    ("administrator", "administrator"),
    ("analyst", "operator"),
    ("buyer", "operator"),
    ("seller", "operator"),
    ("sales_manager", "management"),
    ("warehouse_clerk", "operator"),
    ("foreman", "management"),
    ("shift_worker", "operator"),
    ("service_agent", "operator"),
    ("hr_officer", "operator"),
];
pub const ACCOUNTANT: usize = 0;
pub const APPROVER: usize = 1;
pub const ADMINISTRATOR: usize = 2;
pub const ANALYST: usize = 3;
pub const BUYER: usize = 4;
pub const SELLER: usize = 5;
pub const SALES_MANAGER: usize = 6;
pub const WAREHOUSE_CLERK: usize = 7;
pub const FOREMAN: usize = 8;
pub const SHIFT_WORKER: usize = 9;
pub const SERVICE_AGENT: usize = 10;
pub const HR_OFFICER: usize = 11;

/// How a feature fares over the simulated days. Shares are of those days.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate {
    Steady,
    /// In the catalogue, released, never clicked.
    NeverUsed,
    /// Released when this share of the days has passed, clicked from then on.
    ReleasedAt(f64),
    /// In the catalogue, to be released after the last simulated day.
    NotYetReleased,
    /// Clicked less each day, no more once this share of the days has passed.
    Fading(f64),
    /// Clicked, but nobody entered it in the catalogue.
    Uncatalogued,
}

pub struct Feature {
    pub key: &'static str,
    pub title: &'static str,
    /// Indices into [`ROLES`]; empty: everybody is expected to use it.
    pub roles: &'static [usize],
    pub fate: Fate,
}

const fn feature(key: &'static str, title: &'static str, roles: &'static [usize], fate: Fate) -> Feature {
    Feature {
        key,
        title,
        roles,
        fate,
    }
}

/// The more popular first, within what each role uses.
#[rustfmt::skip]
pub static FEATURES: [Feature; 34] = [
    feature("home.dashboard.open", "Open dashboard", &[], Fate::Steady),
    feature("finance.invoice.enter", "Enter invoice", &[ACCOUNTANT], Fate::Steady),
    feature("finance.invoice.approve", "Approve invoice", &[APPROVER, SALES_MANAGER], Fate::Steady),
    feature("finance.payment.run", "Run payments", &[ACCOUNTANT], Fate::Steady),
    feature("finance.journal.post", "Post journal", &[ACCOUNTANT], Fate::Steady),
    feature("finance.close.checklist", "Closing checklist", &[ACCOUNTANT, APPROVER], Fate::Steady),
    feature("财务.报销.审批", "报销审批", &[APPROVER, SALES_MANAGER, FOREMAN], Fate::Steady),
    feature("sales.order.create", "Create order", &[SELLER], Fate::Steady),
    feature("sales.quote.fax", "Fax quote", &[SELLER], Fate::Fading(0.9)),
    feature("sales.quote.send", "Send quote", &[SELLER, SALES_MANAGER], Fate::Steady),
    feature("sales.customer.edit", "Edit customer", &[SELLER, SERVICE_AGENT], Fate::Steady),
    feature("sales.pipeline.review", "Review pipeline", &[SALES_MANAGER], Fate::Steady),
    feature("sales.legacy.export", "", &[SELLER], Fate::Uncatalogued),
    feature("purchasing.order.create", "Create purchase order", &[BUYER], Fate::Steady),
    feature("采购.询价单", "询价单", &[BUYER], Fate::Steady),
    feature("purchasing.supplier.rate", "Rate supplier", &[BUYER], Fate::ReleasedAt(0.6)),
    feature("inventory.goods.receive", "Receive goods", &[WAREHOUSE_CLERK], Fate::Steady),
    feature("inventory.stock.count", "Count stock", &[WAREHOUSE_CLERK], Fate::Steady),
    feature("inventory.transfer.book", "Book transfer", &[WAREHOUSE_CLERK, FOREMAN], Fate::Steady),
    feature("production.order.confirm", "Confirm production order", &[SHIFT_WORKER], Fate::Steady),
    feature("production.scrap.report", "Report scrap", &[SHIFT_WORKER, FOREMAN], Fate::Steady),
    feature("production.shift.plan", "Plan shift", &[FOREMAN], Fate::Steady),
    feature("生产.质检记录", "质检记录", &[SHIFT_WORKER], Fate::Steady),
    feature("service.ticket.answer", "Answer ticket", &[SERVICE_AGENT], Fate::Steady),
    feature("service.ticket.escalate", "Escalate ticket", &[SERVICE_AGENT], Fate::Steady),
    feature("hr.leave.approve", "Approve leave", &[HR_OFFICER, APPROVER], Fate::Steady),
    feature("hr.person.edit", "Edit person", &[HR_OFFICER], Fate::Steady),
    feature("report.cube.query", "Query cube", &[ANALYST, APPROVER], Fate::Steady),
    feature("admin.user.unlock", "Unlock user", &[ADMINISTRATOR], Fate::Steady),
    feature("admin.job.schedule", "Schedule job", &[ADMINISTRATOR], Fate::Steady),
    feature("report.monthly.export", "Export monthly report", &[], Fate::Steady),
    feature("finance.budget.simulate", "Simulate budget", &[ACCOUNTANT, APPROVER], Fate::NeverUsed),
    feature("help.tour.start", "Start guided tour", &[], Fate::NeverUsed),
    feature("sales.forecast.ai", "Forecast sales", &[SALES_MANAGER, SELLER], Fate::NotYetReleased),
];
