-- M20 for M17: what the adoption rate of every phase should be on each of the first `days` days since its go-live. Day 0 is the day of go-live.
--   measure: as in adoption. The target for phases counts, else that of the whole system, else 0.80 on day 90.
CREATE OR REPLACE VIEW target_ramp AS
WITH
    (
        SELECT JSONExtract(max(definition), 'targets', 'Array(Tuple(metric String, by String, target Float64, due_days UInt32))')
        FROM systems
        WHERE system = {system:String} AND version = {{definition}}
    ) AS defined,
    arrayFilter(t -> t.1 = if({measure:String} = 'login', 'login_rate', 'adoption_rate') AND t.2 IN ('phase', 'none'), defined) AS of_measure,
    arrayConcat(arrayFilter(t -> t.2 = 'phase', of_measure), of_measure, [('', '', 0.8, 90)])[1] AS ramp
SELECT
    toUInt16(number) AS day,
    if(number >= ramp.4, ramp.3, ramp.3 * number / ramp.4) AS expected_rate
FROM numbers(toUInt64({days:UInt16}))
