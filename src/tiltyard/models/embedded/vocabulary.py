"""The words of the synthetic world: what its tables, notes, logs and tickets are about.

Of each list, every fifth item is kept for evaluation; see :meth:`tiltyard.models.embedded.draw.Draw.item`.
"""

from tiltyard.models.embedded.phrasing import phrasings

ITEMS = (
    "revenue",
    "rent",
    "wages",
    "taxes",
    "freight",
    "interest",
    "repairs",
    "licences",
    "travel",
    "insurance",
    "sales",
    "fees",
    "profit",
    "debt",
    "power",
    "training",
    "fuel",
    "storage",
    "grants",
    "pensions",
    "cash",
    "loans",
    "equity",
    "stock",
    "tolls",
)
SENSORS = (
    "pump",
    "boiler",
    "valve",
    "motor",
    "fan",
    "tank",
    "filter",
    "engine",
    "mixer",
    "turbine",
    "press",
    "oven",
    "cooler",
    "gate",
    "drill",
    "belt",
    "crane",
    "heater",
    "rotor",
    "probe",
)
SYMPTOMS = (
    "fever",
    "pain",
    "cough",
    "nausea",
    "swelling",
    "itching",
    "fatigue",
    "dizziness",
    "cramps",
    "rash",
    "headache",
    "thirst",
    "tremor",
    "anxiety",
    "weakness",
)
THINGS = (
    "chair",
    "lamp",
    "screen",
    "printer",
    "router",
    "kettle",
    "phone",
    "desk",
    "scanner",
    "camera",
    "battery",
    "keyboard",
    "charger",
    "speaker",
    "monitor",
)
UNITS = ("bar", "mm", "kW", "rpm", "ppm", "lux", "volt", "litres", "amps", "kPa")
TEAMS: dict[str, tuple[str, ...]] = {
    "billing": phrasings(
        "<My|The> <invoice|bill|payment> is <wrong|too high|not correct>.",
        "The <invoice|bill> <shows|has> a wrong <amount|price>.",
        "<I was|My card was> charged <twice|again|too much>.",
        "<Please refund|I wait for a refund of|I want a refund of> my <payment|money>.",
        "Please correct <my|the> <bill|invoice>.",
        "There is an error in <my|the> <bill|invoice|payment>.",
        "I paid, but the <invoice|bill> is still open.",
        "<The|My> refund has not come.",
        "I want my money back.",
    ),
    "access": phrasings(
        "I cannot <log in|sign in|open my account>.",
        "My <password|login|user name> <is|was> <refused|rejected|not known>.",
        "<My|The> account is <locked|closed>.",
        "I <forgot my|lost my|need a new> password.",
        "Please <unlock|open> my account.",
        "I am locked out<| of my account>.",
        "The <log in|login|login code> <fails|failed|never works>.",
        "The <login page|account> rejects <me|my password>.",
    ),
    "delivery": phrasings(
        "My <parcel|package|order> <has not come|is late|was never delivered>.",
        "The <parcel|package|shipment> <is lost|is stuck in transit|went to a neighbour>.",
        "The courier <is late|has lost it|went to a wrong address>.",
        "Where is my <parcel|package|order|shipment>?",
        "The <delivery|courier|shipment> is <one day|two days> late.",
        "Nobody delivered my <order|parcel|package>.",
    ),
    "repair": phrasings(
        "It does not <start|turn on|work> any more.",
        "It <makes a noise|gets hot|stops> after a <minute|while>.",
        "<A|The> <part|screw|handle|cover> <is broken|is damaged|came off|has come off>.",
        "The device is <broken|damaged|dead>.",
        "It fell and <is damaged|makes a noise|does not start>.",
        "It <makes a loud noise|gets hot> and <stops|smells>.",
        "There is smoke from <it|the device>.",
    ),
}
"""What the tickets of each team complain of."""

FINDINGS: dict[str, tuple[str, ...]] = {
    "yes": phrasings(
        "{drug} <lowers|lowered|reduces|reduced|cured> {symptom}<| in most cases>.",
        "{drug} clearly <lowers|lowered|reduces|reduced> {symptom}.",
        "{symptom} <went down|fell|dropped><| by half> with {drug}.",
        "with {drug}, {symptom} <went down|fell|dropped>.",
        "the <trial|study> <shows|found> that {drug} <lowers|reduces> {symptom}.",
        "{drug} <helped|worked> against {symptom}.",
        "there was <less|far less> {symptom} with {drug}.",
    ),
    "no": phrasings(
        "{drug} <does|did> not <lower|reduce|help against|work against> {symptom}.",
        "{symptom} <stayed the same|did not change|did not fall> with {drug}.",
        "with {drug}, {symptom} <stayed the same|did not change|did not fall>.",
        "{drug} <had|has|showed> no effect on {symptom}.",
        "the <trial|study> <shows|found> no <effect of {drug} on {symptom}|change of {symptom} by {drug}>.",
        "{drug} failed against {symptom}.",
        "there was no less {symptom} with {drug}.",
    ),
    "maybe": phrasings(
        "it is <unclear|open> whether {drug} <lowers|reduces|helps against> {symptom}.",
        "{drug} <may|might> <lower|reduce|help against> {symptom}<|, but data are few|, but it is unclear>.",
        "<results|data> <on|of> {drug} <and|for> {symptom} are <mixed|few>.",
        "the <trial|study> of {drug} for {symptom} was too small.",
        "nobody knows whether {drug} <lowers|reduces> {symptom}.",
        "whether {drug} <lowers|reduces|helps against> {symptom} is <unclear|open>.",
    ),
}
"""What a note says of a drug, by whether the drug lowers the symptom."""

ROLES = ("doctor", "nurse", "patient", "caller", "owner", "agent", "author", "driver", "guest", "clerk")

ASKED: dict[str, tuple[str, ...]] = {
    "amount": phrasings(
        "<What|How much> <was|is> {row} <in|for> {year}?",
        "<Give|State|Name|Show> <|the >{row} <for|of|in> {year}.",
        "<In|For> {year}, <what|how much> was {row}?",
        "What did {row} come to <in|for> {year}?",
    ),
    "sum": phrasings(
        "<What|How much> <are|is> {one} <and|plus> {other}<| together>?",
        "<Add|Sum|Add up> {one} and {other}.",
        "<Give|State> the <sum|total> of {one} and {other}.",
        "How much do {one} and {other} <make|come to>?",
    ),
    "growth": phrasings(
        "Did {row} <grow|rise|increase|go up><| from {first} to {last}>?",
        "<Is|Was> {row} <higher|larger|greater> in {last}<| than in {first}>?",
        "Has {row} <grown|risen|increased><| from {first} to {last}>?",
    ),
    "dose": phrasings(
        "What dose of {drug} <does the patient take|is taken|is given>?",
        "How much {drug} <does the patient take|is taken|is given>?",
        "<Give|State|Name> the <dose of {drug}|{drug} dose>.",
        "What is the <dose of {drug}|{drug} dose>?",
        "How many mg of {drug}<| are taken| are given>?",
    ),
    "verdict": phrasings(
        "<Does|Can|Will> {drug} <lower|reduce|help against|work against> {symptom}?",
        "Is {symptom} <lowered|reduced> by {drug}?",
        "Is there less {symptom} with {drug}?",
    ),
    "reading": phrasings(
        "What <did|does> the {sensor} <read|show>?",
        "What is the <reading|value> of the {sensor}?",
        "<Give|State|Name> the <reading|value> of the {sensor}.",
        "<Give|State|Name> the {sensor} <reading|value>.",
        "Which <reading|value> <did|does> the {sensor} show?",
        "What does the log <say|show> for the {sensor}?",
    ),
    "level": phrasings(
        "<Is|Was> the {sensor} high<| or normal>?",
        "What is the <level of the {sensor}|{sensor} level>?",
        "<Is|Was> the <level of the {sensor}|{sensor} level> high<| or normal>?",
        "Which level <has the {sensor}|does the {sensor} have>?",
        "How <is|was> the {sensor}<|, high or normal>?",
        "<Give|State|Name> the <level of the {sensor}|{sensor} level>.",
    ),
    "date": phrasings(
        "When did the {thing} <fail|stop|break>?",
        "On <which|what> <date|day> did the {thing} <fail|stop>?",
        "<Give|State|Name> the date of the {thing} <fault|failure>.",
        "When was the {thing} <fault|failure>?",
        "Since <when|which day> is the {thing} <down|broken>?",
    ),
    "person": phrasings(
        "<Who|Which person> is the {role}?",
        "What is the name of the {role}?",
        "<Give|State> the name of the {role}.",
        "<Name|Tell me> the {role}<|'s name>.",
        "Which name has the {role}?",
        "<How|What> is the {role} called?",
    ),
    "team": phrasings(
        "Which team <takes|handles|gets> <this|the> ticket?",
        "Who <takes|handles|gets|should handle> <this|the> ticket?",
        "Where does <this|the> ticket <go|belong>?",
        "To which team does <it|this|the ticket> <go|belong>?",
        "Which team is <it|this|the ticket> for?",
    ),
    "count": phrasings(
        "How many of {thing} <were|are> ordered?",
        "<What|Which> number of {thing}<| was ordered>?",
        "<What is the count|Count|Number> of {thing}?",
        "How often was {thing} ordered?",
        "<Give|State|Name> the <count|number> of {thing}.",
    ),
    "option": phrasings(
        "What <is broken|has a fault|does not work|is wrong|is the ticket about>?",
        "Which <thing|one|item> <has a fault|does not work|has the problem|is broken>?",
    ),
}
"""How each kind of question is asked."""

SAID: dict[str, tuple[str, ...]] = {
    "dose": phrasings(
        "{dose} mg<| of> {drug}",
        "{drug}<|:| at| with| in doses of> {dose} mg",
        "{drug} ({dose} mg)",
    ),
    "date": phrasings(
        "{date}<|:> {thing} <failed|stopped|broke|is down>",
        "{thing} <down|out|broken> <since|from> {date}",
        "{thing} <fault|failure> <on|of> {date}",
        "{date}<|:> <fault|failure> of <|the >{thing}",
    ),
    "person": phrasings(
        "{role}<|:| is> {name}",
        "The {role} is <|called >{name}.",
        "{name} ({role})",
        "{name}, {role}",
        "{name} <is|acts as> the {role}.",
    ),
    "team": phrasings(
        "Ticket about <a|my> {thing}: {complaint}",
        "{complaint} It is about <a|my> {thing}.",
        "{thing}: {complaint}",
        "I <bought|have|ordered> a {thing}. {complaint}",
        "{complaint} ({thing})",
    ),
    "option": phrasings(
        "<The|My> {thing} <is broken|has a fault|does not work|has a problem>.",
        "<Something is wrong|There is a problem|There is a fault> with <the|my> {thing}.",
    ),
}
"""How its context says what is asked for, where that varies."""
