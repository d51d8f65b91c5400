"""The words at which sentences are cut, opened, or found to state nothing: patterns for ``clauses``.

Over folded words. Questions, conditions, wishes, jokes, fiction, quotations and instructions are
left out by them, so that no rule has to think of these.
"""

from __future__ import annotations

import re

INSTRUCTION = re.compile(
    r"\b(?:ignore|disregard|override|bypass)\b.{0,40}\b(?:previous|prior|above|earlier|all|your"
    r"|instructions?|rules)\b|\b(?:forget|delete|erase|drop|wipe)\s(?:everything|all|every)\b"
    r"|^\s*[\[<#(*|]*\s*(?:system|assistant|developer|tool|instructions?)\b\s*(?:prompt|message)?"
    r"[\]>|)*]*\s*:|<\||(?<!\bif\s)\byou\s(?:are\snow|must|shall)\b|\bjailbreak|\bdo\sanything\snow"
    r"|忽略.{0,10}(?:之前|以上|所有|指令)|删除.{0,6}(?:所有|全部|一切)|忘记.{0,6}(?:所有|一切|全部)|^系统[:：]"
)
ROLE = re.compile(
    r"[\s\[<#(*|]*(?:system|assistant|developer|tool)\b\s*(?:prompt|message|note)?[\]>|)*\s]*[:：]"
)
UNREAL = re.compile(
    r"\b(?:if(?!\s(?:(?:i|you)\s(?:had|have)\sto\s(?:pick|choose|name|say|decide|guess)|you\s(?:must|really\smust|want\sto|care\sto|need\sto|ask|wonder|were\swondering|are\swondering"
    r"|didn't\sknow|don't\sknow)|you're\swondering|anyone(?:'s|\sis)\swondering))|unless|whether|imagine|suppose|pretend(?:ing)?|as\sthough|wish|would've|could've"
    r"|should've|might|maybe|perhaps|probably|possibly|(?:would|could|should)\shave"
    r"|in\s(?:my|a)\sdream|dreamed|dreamt|joking|kidding|hypothetically|what\sif|supposedly|rumou?r"
    r"|almost|nearly|hypothetical|role-?play|let's\ssay|as\sif|yeah,?\sright|practically|jk)\b"
    r"|(?<!you\s)\bcould\b(?!\s(?:eat|watch|drink|listen|read|play|live|wear)\b[^.!?]{1,40}\b(?:every|all\sday|forever"
    r"|for\shours|daily|all\sthe\stime|non-?stop|for\sthe\srest))|\byou\scould\b(?!\s(?:say|call))"
    r"|(?<=\s)/s\b"
    r"|如果|要是|假如|假设|也许|可能|或许|希望我|开玩笑|梦见|万一|听说"
)
QUOTED = re.compile(
    r"\"[^\"\n]{1,400}\"|“[^”\n]{1,400}”|「[^」\n]{1,400}」|`[^`\n]{1,200}`"
    r"|(?<![\w])'[^'\n]{2,200}'(?!\w)|‘[^’\n]{2,200}’"
)
QUESTION = re.compile(r"[?？]\s*[\"'”’)）]?\s*$|[吗呢么]\s*[。？?！!]?$")
FICTION = re.compile(
    r"\s*in\s(?:the|this|that|my|a|our)\s(?:\w+\s)?(?:novel|game|film|movie|story|book|play|show|series|script|video"
    r"\sgame|simulation|campaign|roleplay|fantasy)\b,?\s(?:i|my)\b"
)
ASKED_MYSELF = re.compile(
    r"\s*(?:and |but |so )?(?:my|our|favou?rite|fave?)\s(?:[\w-]+\s){0,3}[\w-]+\?$"
)
"""``My favourite colour? Green.``: asks nobody."""
QUESTION_START = re.compile(
    r"\s*(?:and |but |so |ok |okay |hey |well )?(?:(?:do|does|did|am|are|is|was|were|can|could|will"
    r"|would|should|shall|have|has|may)(?:n't)? (?:i|we|you|he|she|they|it|my|your|the|this|that)"
    r"|(?:what|where|who)(?!\s(?:i|we|i'm|we're|im|my\s[a-z]+)\s(?!need|mean))|whom|whose|when(?!\sit\scomes)"
    r"|why|how|which)\b"
)
CUT = re.compile(
    r",?\s+as\s+(?=(?:i|we|he|she|they|it|you)\b)"
    r"|,?\s+(?:and|but|so)\s+(?=(?:now|these\sdays|currently|today)\s(?:i|we|my|it|i'm|it's)\b)"
    r"|,?\s+(?:and|but|so|because|cause|'cause|although|though|while|whereas|then|since|yet)\s+"
    r"(?=(?:i|we|my|our|he|she|they|it|you|the|his|her|their|this|that)\b)"
    r"|,\s+(?=(?:i|we|my|our|he|she|they|it|you|but|so|which|who|because|though|although|not|i'?m|i'?ve|im|now|his|her"
    r"|that's|these\sdays)\b)"
    r"|;\s*|\s+[-–—]{1,3}\s+|\s*[()]\s*|:\s+|\s+=\s+|…|\.{3}|,?\s+but\s+|,?\s+even though\s+"
)
CARRIED = re.compile(
    r",?\s+(?:and|then|and then|and also)\s+(?=(?:(?:am|also|now|have|just|really|currently)\s+)?"
    r"(?:work|works|live|lives|like|likes|love|loves|hate|hates|enjoy|enjoys|speak|speaks|study"
    r"|studies|moved|started|adopted|bought|visited|went|plan|plans|will|drive|drives|own|owns"
    r"|prefer|prefers|play|plays|married|joined|got|quit|left|don't|doesn't|can't|dislike|dislikes"
    r"|became|become|switched|changed|relocated|trained|retrained|settled|am|is|allergic|planning|going|have|has|stopped|graduated|met|saw)\b)"
)
OPENER = re.compile(
    r"(?:(?:and|but|so|well|oh|ah|yeah|yes|yep|yup|no|nope|nah|ok|okay|hey|hi|hello|wow|haha|lol"
    r"|actually|also|plus|honestly|personally|btw|by the way|anyways?|then|now|recently|lately"
    r"|these days|nowadays|unfortunately|luckily|fortunately|sadly|finally|guess what|in fact|tbh"
    r"|to be honest|for me|as you know|you know|fyi|update|quick update|good news|big news|news"
    r"|thanks|thank you|great|sure|hmm+|um+|uh+|omg|because|although|though|since|while|like"
    r"|for the record|just so you know|please note(?: that)?|note that|(?:please )?(?:remember|keep in mind|don't forget|be aware)(?: that)?"
    r"|fun fact|besides|anyhow|right|true|correction|sorry|i mean|i think|i guess|i must say"
    r"|i have to say|basically|obviously|of course|as for me|my bad|in general|generally|overall"
    r"|currently|at the moment|right now|originally|nice to meet you|by (?:trade|profession|training"
    r"|occupation|vocation)|professionally|for a living|for work|truth be told|to tell (?:you )?the truth"
    r"|believe it or not|in case you(?: were|'re| are)? (?:wondering|wonder|wondered|curious)"
    r"|if you(?: must know|(?:'re| are| were) wondering| want to know| ask me| didn't know| don't know)"
    r"|i(?: must| have to| will|'ll|'ve got to| gotta)? (?:admit|confess|say)(?: that)?"
    r"|i'd say(?: that)?|i would say(?: that)?|i'm (?:pretty |quite |fairly |absolutely )?(?:sure|certain|positive)"
    r"(?: that)?|let me tell you|scratch that|(?:just )?(?:to|wanted to) let you know(?: that)?"
    r"|(?:i )?(?:almost )?forgot to (?:mention|say|tell you)(?: that)?|(?:it )?turns out(?: that)?"
    r"|i(?:'ve)? (?:just |recently |only )?(?:found out|discovered|realised|realized|learned|learnt)(?: (?:last|this) [a-z]+"
    r"| recently| yesterday| today| [a-z]+ [a-z]+ ago)?(?: that)?"
    r"(?= (?:i|we|my|our)\b)|you should know(?: that)?|you (?:may|might) (?:want to )?know(?: that)?"
    r"|as a matter of fact|in reality|in truth|to be fair|to be clear|just fyi|fwiw|ngl|imo|also"
    r"|good to know|one more thing|another thing|so yeah|anyway so|as of (?:today|now|this \w+)|from now on"
    r"|for context|some context|some background|about me|a bit about me|little update|small update|life update"
    r"|heads up|heads-up|[a-z]+-?wise|i(?:'ve| have) always (?:said|thought|felt|believed|known|maintained)(?: that)?|at (?:home|work)|in (?:my|our) "
    r"(?:family|house|household)|you (?:could|might|can) say(?: that)?|(?:my|the|our) (?:doctor|gp|allergist|dentist|vet|therapist|nurse)"
    r" (?:says|said|told me|confirmed|tells me)(?: that)?(?= (?:i|my)\b)|if i (?:had|have) to (?:pick|choose|name|say|decide)"
    r"(?: one)?|by now|in my (?:free|spare) time|after all|more and more|at last|at long last|good for me|thankfully|happily"
    r"|surprisingly|funnily enough|interestingly|weirdly|strangely|meanwhile|since then|until recently"
    r"|(?:as of|from|starting|effective) (?:this |last )?(?:january|february|march|april|may|june|july|august|september"
    r"|october|november|december|monday|tuesday|wednesday|thursday|friday|saturday|sunday|week|month|year|spring|summer"
    r"|autumn|fall|winter|[0-9]{4})(?: on| onwards?)?)\b"
    r"[,!.:\s]{1,4}){0,4}".replace(" ", r"\s")
)
