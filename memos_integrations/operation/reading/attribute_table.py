"""The verbs that state an attribute, each with the shape of value that may follow it.

A table: under which auxiliaries, after which words. Read by ``stating.stated``.
"""

from __future__ import annotations

from memos_integrations.operation.reading.stating import by_head, pattern

_JOB = r"(?:new |great |full-time |part-time |permanent |first |old |dream |current )?"

_JOB2 = (r"(?:(?:new|great|good|full-time|part-time|permanent|first|steady|decent|proper|current|nice|small"
         r"|side|day|temporary|regular) ){0,2}")  # fmt: skip
_FEEL = r"(?:love|like|enjoy|hate|adore)s? "
_EARN = r"(?:earn|make)s? (?:(?:my|our|his|her|their|a) )?(?:living|money|bread|keep) "

TABLE = by_head(
    [
        ("live lives reside resides",
         pattern("-", r"(?:lives?|resides?) (?:(?:here|alone|back|happily|right|over|up|down|out|off) ){0,2}in ",
                 "lives_in", "place")),
        ("live", pattern("used", r"live (?:here )?in ", "lives_in", "place", denies=True)),
        ("living based settled residing",
         pattern("be", r"(?:living|based|settled|residing) (?:(?:here|now|over|up|down|out|back|off|the dream|alone|together"
                 r"|happily|quietly|mostly|with [a-z]+ [a-z]+|a quiet life|a good life) ){0,2}"
                 r"(?:in|out of) ", "lives_in", "place")),
        ("lived living based been",
         pattern("have", r"(?:been )?(?:lived|living|based|residing|settled) (?:(?:here|over|up|down|out"
                 r"|back|happily) ){0,2}(?:in|out of) ", "lives_in", "place")),
        ("a resident", pattern("be have", r"(?:an? )?(?:\w+ )?resident of ", "lives_in", "place")),
        ("rent rents renting", pattern("- be", r"rent(?:s|ing)? (?:an? |the )?(?:\w+ ){0,2}?(?:flat|apartment"
                 r"|house|room|place|studio|cottage|condo|loft) (?:(?:over|up|down|out) )?in ", "lives_in",
                 "place")),
        ("ended wound", pattern("- have", r"(?:ended|wound) up (?:moving|living|settling|relocating)(?: down)?"
                 r" (?:to|in) ", "lives_in", "place", begins=True)),
        ("made make makes set", pattern("- have", r"(?:ma(?:d|k)es?|set up) (?:(?:my|our|his|her|their) )?(?:new )?"
                 r"home in ", "lives_in", "place", begins=True)),
        ("moved relocated settled emigrated migrated",
         pattern("- have", r"(?:moved|relocated|settled|emigrated|migrated)"
                 r"(?: house)?(?: back| over| out| down| here| away| up| across)?"
                 r"(?: (?:with|from) [^,]{1,30}?)? (?:to|in|into) ", "lives_in", "place",
                 begins=True)),
        ("from", pattern("be", r"from ", "from", "place")),
        ("come comes hail hails originate originates",
         pattern("-", r"(?:comes?|hails?|originates?) from ", "from", "place")),
        ("a native", pattern("be", r"(?:an? )?(?:proud )?native (?:of|to) ", "from", "place")),
        ("spent", pattern("- have", r"spent (?:(?:most|all|part) of )?(?:my|our|his|her|their) (?:\w+ )?"
                 r"(?:childhood|youth|teens|teenage years) in ", "grew_up_in", "place")),
        ("grew", pattern("-", r"grew up in ", "grew_up_in", "place")),
        ("raised", pattern("was", r"raised in ", "grew_up_in", "place")),
        ("born", pattern("was", r"born (?:and raised )?in ", "born_in", "place")),
        ("work works working employed",
         pattern("- be", r"(?:work(?:s|ing)?|employed)(?: \w+ly| full-time| part-time| here)? as (?:an? |the )?",
                 "works_as", "job")),
        ("work works working employed",
         pattern("- be", r"(?:work(?:s|ing)?|employed)(?: \w+ly| full-time| part-time| over| out| down| up"
                 r"| here| right)? (?:as [^,]{3,40} )?(?:at|for|by) ", "works_at", "organisation")),
        ("work", pattern("used", r"work (?:at|for) ", "works_at", "organisation", denies=True)),
        ("work", pattern("used", r"work as (?:an? |the )?", "works_as", "job", denies=True)),
        ("worked working been",
         pattern("have", r"(?:been )?(?:worked|working|employed) as (?:an? |the )?", "works_as", "job")),
        ("worked working been",
         pattern("have", r"(?:been )?(?:worked|working|employed) (?:at|for|by) ", "works_at",
                 "organisation")),
        ("a an", pattern("be", r"an? (?:\w+ )?employee (?:of|at) ", "works_at", "organisation")),
        ("part on in a", pattern("be have", r"(?:part of|on|in|a (?:proud )?member of) (?:the |our |their |its )?(?:[\w-]+ ){0,3}?"
                 r"(?:team|department|division|staff|crew|group|board|office) (?:at|of|for) ", "works_at",
                 "organisation")),
        ("in", pattern("be", r"in (?:sales|marketing|finance|accounting|accounts|hr|it|research|design|logistics|procurement"
                 r"|engineering|support|customer service|management|production|development) (?:at|for|with) ",
                 "works_at", "organisation")),
        ("work works working", pattern("- be", r"work(?:s|ing)? in (?:the )?(?:[\w-]+ ){1,3}?(?:at|for) ", "works_at",
                 "organisation")),
        ("get gets draw draws receive receives collect", pattern("-", r"(?:get|draw|receive|collect)s? (?:my|a|our|his|her) (?:\w+ )?"
                 r"(?:paycheck|paycheque|salary|wages?|pay|payslip) from ", "works_at", "organisation")),
        ("love loves like likes enjoy enjoys hate hates adore", pattern("-", _FEEL + r"working (?:at|for) ", "works_at",
                 "organisation")),
        ("love loves like likes enjoy enjoys hate hates adore", pattern("-", _FEEL + r"(?:being|working as) (?:an? |the )",
                 "works_as", "job")),
        ("love loves like likes enjoy enjoys hate hates adore", pattern("-", _FEEL + r"living (?:here )?in ", "lives_in",
                 "place")),
        ("moved", pattern("- have", r"moved (?:my|our|the|his|her|their) (?:whole |entire )?(?:family|kids|life|lives|things|stuff"
                 r"|household|belongings) (?:\w+ )?to ", "lives_in", "place", begins=True)),
        ("stay stays", pattern("-", r"stays? in (?=[^,.!?]{2,30} with (?:my|our|his|her) )", "lives_in", "place")),
        ("made", pattern("- have", r"made the (?:big |long )?move (?:over |out |back |down |up )?to ", "lives_in", "place",
                 begins=True)),
        ("chose", pattern("- have", r"chose to (?:be|become) (?:an? )", "works_as", "job")),
        ("born", pattern("was", r"born and (?:raised|bred|brought up) in ", "from", "place")),
        ("employed", pattern("be", r"employed (?:\w+ly )?with ", "works_at", "organisation")),
        ("on", pattern("be have", r"on (?:the )?(?:payroll|staff|books|team) (?:of|at|for|with) ", "works_at",
                 "organisation")),
        ("have has got a an my",
         pattern("- have", r"(?:(?:have|has|got) )?(?:an? |my )" + _JOB2 + r"(?:job|position|role|career|post|gig)"
                 r" (?:at|with|for) ", "works_at", "organisation")),
        ("have has got a an my",
         pattern("- have", r"(?:(?:have|has|got) )?(?:an? |my )" + _JOB2 + r"(?:job|position|role|career|post|gig)"
                 r" as (?:an? |the )?", "works_as", "trade")),
        ("been", pattern("have", r"been at (?=[^.,!?]{2,30} (?:for|since)\b)", "works_at", "organisation")),
        ("accounting marketing sales design research engineering it hr finance security pr consulting "
         "development testing support logistics admin analytics payroll communications recruiting bookkeeping",
         pattern("-", r"(?:accounting|marketing|sales|design|research|engineering|it|hr"
                 r"|finance|security|pr|consulting|development|testing|support|logistics|admin|analytics|payroll"
                 r"|communications|recruiting|bookkeeping|customer (?:service|support)) (?:at|for) ", "works_at",
                 "organisation")),
        ("teach teaches lecture lectures", pattern("- be", r"(?:teach(?:es|ing)?|lectur(?:es?|ing)) (?:\w+ ){0,2}?at ",
                 "works_at", "organisation")),
        ("stopped quit finished", pattern("- have", r"(?:stopped|quit|finished) working (?:at|for|with) ", "works_at",
                 "organisation", denies=True, begins=True)),
        ("stopped quit finished", pattern("- have", r"(?:stopped|quit|finished) working as (?:an? )?", "works_as",
                 "job", denies=True, begins=True)),
        ("stopped quit gave given", pattern("- have", r"(?:stopped|quit|gave up|given up) being (?:an? )?", "works_as",
                 "job", denies=True, begins=True)),
        ("retired", pattern("- have be", r"retired from ", "works_at", "organisation", denies=True, begins=True)),
        ("moved", pattern("- have", r"moved (?:away from|out of) ", "lives_in", "place", denies=True, begins=True)),
        ("in", pattern("be", r"in (?=[^.,!?]{2,30} (?:these days|nowadays)\b)", "lives_in", "place")),
        ("work works", pattern("-", r"works? for (?:an? |my )(?:\w+ ){0,2}?(?:boss|manager|supervisor) (?:named|called) ", "boss",
                 "name")),
        ("in", pattern("be", r"in (?:my|his|her|the) (?:[\w-]+ ){1,2}(?:year|semester|term) (?:of \w+ )?at ", "studies_at",
                 "organisation")),
        ("attend attends attending", pattern("- be", r"attend(?:s|ing)? (?!the\b|an?\b|my\b|our\b|church|mass\b|services|meetings"
                 r"|classes|every|all\b|mosque|temple|mondays)", "studies_at", "organisation")),
        ("diagnosed", pattern("was have", r"diagnosed with (?:an? )?(?:\w+ )?allergy to ", "allergic_to", "several")),
        ("work works", pattern("-", r"works? under ", "boss", "name")),
        ("get gets", pattern("- can", r"gets? by in ", "speaks", "language")),
        ("earn earns make makes",
         pattern("-", _EARN + r"(?:(?:by )?working )?(?:at|with|from|for) ", "works_at", "organisation")),
        ("earn earns make makes",
         pattern("-", _EARN + r"as (?:an? |the )?", "works_as", "trade")),
        ("retrained requalified qualified",
         pattern("- have", r"(?:retrained|requalified|qualified) (?:as|to be) (?:an? )?", "works_as", "trade",
                 begins=True)),
        ("become turned", pattern("have", r"(?:become|turned) (?:an? |the )?", "works_as", "job",
                 begins=True)),
        ("made", pattern("was have", r"made (?:an? |the )?", "works_as", "job", begins=True)),
        ("serve serves practise practice practises",
         pattern("-", r"(?:serve|practi[sc]e)s? as (?:an? |the )?", "works_as", "job")),
        ("found got", pattern("- have", r"(?:found|got) work as (?:an? )?", "works_as", "trade",
                 begins=True)),
        ("took taken", pattern("- have", r"(?:took|taken) (?:up |on )?(?:an? |the )" + _JOB2
                 + r"(?:post|job|position|role) as (?:an? )?", "works_as", "trade", begins=True)),
        ("took taken", pattern("- have", r"(?:took|taken) (?:up |on )?(?:an? |the )" + _JOB2
                 + r"(?:post|job|position|role) (?:at|with) ", "works_at", "organisation", begins=True)),
        ("be", pattern("used", r"be (?:an? |the )", "works_as", "job", denies=True)),
        ("be", pattern("used", r"be (?:employed )(?:at|by|with) ", "works_at", "organisation",
                 denies=True)),
        ("started began",
         pattern("- have", r"(?:started|began) (?:working|(?:an? |my )?" + _JOB + r"(?:job|position"
                 r"|role|career|internship)?) ?(?:at|for|with) ", "works_at", "organisation",
                 begins=True)),
        ("started began became",
         pattern("- have", r"(?:(?:started|began) (?:(?:working|out)|(?:an? |my )?" + _JOB
                 + r"(?:job|position|role|career)?) ?as|became) (?:an? |the )?", "works_as", "job",
                 begins=True)),
        ("joined", pattern("- have", r"joined (?=[A-Z]|the |an? )", "works_at", "name")),
        ("got landed accepted found took",
         pattern("- have", r"(?:got|landed|accepted|found|took|gotten) (?:hired|(?:an? |my |the )"
                 + _JOB + r"(?:job|position|role|offer|job offer)) (?:at|with|from|by) ", "works_at",
                 "organisation", begins=True)),
        ("got landed accepted found took hired promoted",
         pattern("- have was", r"(?:(?:got|landed|accepted|found|took) )?(?:(?:an? |my |the )" + _JOB
                 + r"(?:job|position|role) as|(?:hired|promoted) (?:to|as)) (?:an? |the )?",
                 "works_as", "job", begins=True)),
        ("quit left resigned",
         pattern("- have", r"(?:quit|left|resigned from)(?: (?:my|her|his|the|our)(?: old)?"
                 r" (?:job|position|role))? as (?:an? |the )?", "works_as", "job", denies=True,
                 begins=True)),
        ("quit left resigned",
         pattern("- have", r"(?:(?:quit|left|resigned from) (?:my|her|his|the|our)(?: old)? (?:job"
                 r"|position|role|work) (?:at|with|for)|(?:quit|resigned from)) ", "works_at",
                 "organisation", denies=True, begins=True)),
        ("laid fired let",
         pattern("was", r"(?:laid off|fired|let go) (?:from|by) ", "works_at", "organisation",
                 denies=True, begins=True)),
        ("study studies studying",
         pattern("- be", r"stud(?:y|ies|ying) (?:[^,]{2,40} )?at (?=the |[a-z])", "studies_at",
                 "organisation")),
        ("study studies studying major majoring",
         pattern("- be", r"(?:stud(?:y|ies|ying)(?! (?:for|at|abroad|hard|a lot|every|in|all|with)\b)"
                 r"|major(?:s|ing)? in) ", "studies", "several")),
        ("attend attends attending", pattern("- be", r"attend(?:s|ing)? (?=[a-z]+ (?:university"
                 r"|college|school|academy|institute)|(?:the )?(?:university|college|academy))",
                 "studies_at", "organisation")),
        ("go goes", pattern("-", r"go(?:es)? to (?=[a-z.]+(?: [a-z]+)? (?:university|college"
                 r"|academy|institute|high school))", "studies_at", "organisation")),
        ("graduated graduate", pattern("- have did", r"graduated? from ", "graduated_from",
                 "organisation", begins=True)),
        ("doing", pattern("be have", r"doing (?:an? |my )?(?:\w+ )?(?:degree|phd|doctorate|master'?s|bachelor'?s|ba"
                 r"|bsc|msc|mba|ma) in ", "studies", "several")),
        ("enrolled", pattern("be have", r"enrolled (?:at|in) ", "studies_at", "organisation")),
        ("a an", pattern("be", r"an? (?:[\w-]+ ){0,2}student (?:at|of) (?=[A-Z]|the university)", "studies_at",
                 "organisation")),
        ("dating", pattern("be have", r"dating ", "partner", "name")),
        ("been", pattern("have", r"been (?:dating|seeing|married to|engaged to|going out with) ", "partner",
                 "name")),
        ("in together", pattern("be have", r"(?:in a (?:\w+ ){0,2}relationship|together) with ", "partner", "name")),
        ("been", pattern("have", r"been (?:together|in a (?:\w+ ){0,2}relationship) with ", "partner", "name")),
        ("started began", pattern("- have", r"(?:started|began) (?:dating|seeing|going out with) ", "partner", "name",
                 begins=True)),
        ("doing finishing completing pursuing getting", pattern("be have", r"(?:doing|finishing|completing|pursuing|getting) (?:my|an?) "
                 r"(?:[\w'-]+ )??(?:degree|phd|doctorate|master'?s|bachelor'?s|ba|bsc|msc|mba|ma|studies)(?: in [^,]{2,30}?)?"
                 r" (?:at|with) ", "studies_at", "organisation")),
        ("go goes", pattern("-", r"go(?:es)? to (?=[^,.!?]{2,30} for (?:uni|university|college|school)\b)", "studies_at",
                 "organisation")),
        ("driving", pattern("be", r"driving (?:an? |my )(?!(?:rental|lot|bit|long|few|hard)\b)", "drives", "phrase")),
        ("get gets", pattern("-", r"gets? around (?:in|on|with) (?:an? |my )", "drives", "phrase")),
        ("tied", pattern("- have", r"tied the knot with ", "partner", "name", begins=True)),
        ("report reports answer answers", pattern("- do", r"(?:report|answer)s? (?:\w+ly )?to ", "boss", "name")),
        ("reporting", pattern("be", r"reporting to ", "boss", "name")),
        ("known", pattern("be", r"known (?:\w+ ){0,2}?as ", "nickname", "name")),
        ("a native bilingual conversant proficient",
         pattern("be", r"(?:(?:an? )?native (?:speaker of )?|(?:bilingual|conversant|proficient) in )", "speaks",
                 "language")),
        ("grew raised", pattern("- was", r"(?:grew up|raised) speaking ", "speaks", "language")),
        ("become", pattern("have", r"become (?:\w+ly )?allergic to ", "allergic_to", "several")),
        ("developed suffer suffers", pattern("- have", r"(?:developed|suffers? from|suffering from) (?:an? )?(?:\w+ )?"
                 r"allergy to ", "allergic_to", "several")),
        ("married engaged", pattern("be have", r"(?:married|engaged) to ", "partner", "name")),
        ("married", pattern("- have", r"married ", "partner", "name", begins=True)),
        ("got", pattern("- have", r"got(?:ten)? (?:married|engaged|hitched) (?:to|with) ",
                 "partner", "name", begins=True)),
        ("broke split separated divorced",
         pattern("- have", r"(?:(?:broke|split) up|split|separated|divorced)(?: (?:with|from))? ",
                 "partner", "name", denies=True, begins=True)),
        ("allergic", pattern("be", r"allergic to ", "allergic_to", "several")),
        ("have has a an",
         pattern("- do have does", r"(?:(?:have|has) )?(?:an? )?(?:\w+ )?allergy to ", "allergic_to",
                 "several")),
        ("speak speaks", pattern("- can", r"speaks? (?=[a-z])", "speaks", "language")),
        ("fluent", pattern("be", r"fluent in ", "speaks", "language")),
        ("learning", pattern("be have", r"learning (?!(?:a lot|so much|more|about|that|how|to be"
                 r"|from)\b)(?:how to |to )?", "learns", "several")),
        ("been", pattern("have", r"been learning (?!about|a lot|that|from)(?:how to |to )?", "learns", "several")),
        ("eat eats", pattern("- can", r"eats? (?!(?:vegan|vegetarian|halal|kosher|keto|out|at|too|well|with|in|there|here|a lot)\b)",
                 "eats", "several")),
        ("drink drinks", pattern("- can", r"drinks? (?!(?:too|with|at|responsibly)\b)", "drinks",
                 "several")),
        ("stopped quit",
         pattern("- have", r"(?:stopped|quit|gave up|given up) eating ", "eats", "several",
                 denies=True, begins=True)),
        ("stopped quit", pattern("- have", r"(?:stopped|quit) drinking ", "drinks", "several",
                 denies=True, begins=True)),
        ("stopped", pattern("- have", r"stopped using ", "uses", "several", denies=True,
                 begins=True)),
        ("quit stopped gave given",
         pattern("- have", r"(?:quit|stopped|gave up|given up) (?=smoking|vaping|gambling|drinking"
                 r"|alcohol|coffee|sugar|meat|dairy|gluten)", "habit", "phrase", denies=True,
                 begins=True)),
        ("smoke smokes", pattern("-", r"(?=smokes?$|smokes?[ .!,])", "habit", "phrase")),
        ("drive drives", pattern("-", r"drives? (?:an? |my )(?!(?:lot|bit|long|few|hard)\b)", "drives",
                 "phrase")),
        ("own owns", pattern("-", r"owns? (?=an? |the |two |three |four |five |several |my own )",
                 "owns", "phrase")),
        ("play plays", pattern("- can", r"plays? (?:the )?(?=guitar|piano|violin|cello|drums|flute"
                 r"|saxophone|sax|clarinet|trumpet|bass|ukulele|harp|organ|banjo|tennis|football"
                 r"|soccer|chess|golf|basketball|volleyball|badminton|hockey|rugby|cricket|baseball"
                 r"|squash|poker|video games|dungeons|go\b|bridge|ping pong|table tennis|softball)",
                 "plays", "several")),
        ("use uses", pattern("-", r"uses? (?=[a-z+#.]+(?: [a-z]+)? (?:as my|for (?:work|everything"
                 r"|my|all my|coding|notes|programming|school))\b)", "uses", "phrase")),
        ("named called go goes",
         pattern("be -", r"(?:called|named|goe?s? by)(?: the name)? ", "name", "name")),
    ]
)  # fmt: skip
