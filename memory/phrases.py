"""How people say that something is worth remembering, in seven languages.

Every phrase is in lower case, without accents and with plain apostrophes, as `memory/markers.py`
reads texts. The language of a text is not known, so all of them are looked for in each: a phrase
stands here only if it means nothing else in another of the languages.
"""

from collections.abc import Iterable

# The speaker asks for it to be kept. Only at the beginning of a clause: "I remember that" is none.
REQUESTS = """
remember that, remember this, remember my, remember i, remember i'm, remember to, don't forget,
never forget, note that, take note, make a note, keep in mind, bear in mind, remind me, save this,
denk daran, denk dran, denke daran, denken sie daran, merk dir, merke dir, merken sie sich,
vergiss nicht, vergiss es nicht, vergiss das nicht, erinnere mich, notiere, notier dir,
behalte im kopf, bitte beachte, recuerda que, recuerde que, recuerda esto, recordad que,
acuerdate, acuerdese, no olvides, no te olvides, no lo olvides, no se olvide, ten en cuenta,
tenga en cuenta, toma nota, tome nota, recuerdame, souviens-toi, souvenez-vous, rappelle-toi,
rappelez-vous, n'oublie pas, n'oubliez pas, note que, notez que, note bien, retiens que,
retenez que, garde en tete, gardez en tete, tiens compte, rappelle-moi, ricorda che, ricordati,
ricordatevi, ricordare che, non dimenticare, non dimenticarti, non dimenticate, tieni presente,
tenga presente, tieni a mente, prendi nota, lembra-te, lembra que, lembre que, lembre-se,
lembrem-se, nao esquecas, nao esqueca, nao te esquecas, nao se esqueca, tem em conta,
tenha em conta, leve em conta, anota que, anote que, lembra-me, me lembre, onthoud dat,
onthoud dit, onthoud, vergeet niet, houd er rekening mee, hou er rekening mee, denk eraan, noteer,
herinner me
"""

# The same, wherever they stand; or an order that is to hold for good.
STANDING = """
for the record, for future reference, from now on, nicht vergessen, bitte merken, ab jetzt,
ab sofort, von nun an, bitte beachten, a partir de ahora, de ahora en adelante,
a partir de maintenant, desormais, dorenavant, d'ora in poi, de agora em diante,
a partir de agora, niet vergeten, vanaf nu, please remember, please note
"""

# With a colon after them.
LABELS = """
important, remember, reminder, note, nb, notice, fyi, todo, ps, warning, attention, wichtig,
achtung, hinweis, merke, notiz, importante, recuerda, recordatorio, nota, aviso, atencion, rappel,
attenzione, promemoria, atencao, lembrete, belangrijk, opmerking
"""

# What the speaker is, has, likes, does, or has decided.
FACTS = """
i like, i love, i enjoy, i adore, i prefer, i hate, i dislike, i despise, i can't stand,
i don't like, i don't eat, i don't drink, i never eat, i never drink, i only eat, i only drink,
i usually, i collect, i'm allergic, i'm intolerant, i'm vegetarian, i'm vegan, i'm diabetic,
i'm pregnant, i'm married, i'm divorced, i'm single, i'm retired, i'm engaged, i'm deaf,
i'm blind, i'm a, i'm an, i'm from, i'm afraid of, i was born, i grew up, i live, i lived in,
i work at, i work as, i work for, i work in, i worked as, i worked at, i study, i studied,
i moved to, i'm moving to, i got married, i got divorced, i got engaged, i got a new, i bought,
i sold, i adopted, i quit, i play the, i'm learning, i speak, i've lived, i've worked,
i've been diagnosed, i was diagnosed, i suffer from, i have asthma, i have diabetes, i'm called,
my name is, call me, years old, i decided, i've decided, we decided, we've decided, we agreed,
we've agreed, we moved to, we're moving to, we live in, we got married, we're getting married,
we're expecting, we adopted, we have a dog, we have a cat, i have a dog, i have a cat,
i have kids, i have children, we have kids, we have children, ich mag, ich liebe, ich hasse,
ich bevorzuge, ich esse kein, ich esse keine, ich trinke kein, ich trinke keinen,
ich bin allergisch, ich vertrage kein, ich vertrage keine, ich bin vegetarier,
ich bin vegetarierin, ich bin veganer, ich bin veganerin, ich bin verheiratet, ich bin geschieden,
ich bin schwanger, ich bin geboren, ich wurde geboren, ich bin in, ich komme aus, ich wohne,
ich lebe in, ich arbeite, ich studiere, ich heisse, ich bin umgezogen, wir sind umgezogen,
wir ziehen um, wir wohnen, wir haben geheiratet, ich habe geheiratet, wir haben beschlossen,
wir haben entschieden, ich habe beschlossen, ich habe entschieden, mein name ist, jahre alt,
nenn mich, ich bin ein, ich bin eine, ich spiele, ich lerne, ich trinke gerne, ich esse gerne,
me gusta, me gustan, me encanta, me encantan, no me gusta, no me gustan, odio, prefiero, detesto,
soy alergico, soy alergica, soy vegetariano, soy vegetariana, soy vegano, soy vegana, soy de,
soy un, soy una, soy diabetico, soy diabetica, estoy casado, estoy casada, estoy embarazada,
naci en, naci el, vivo en, trabajo en, trabajo como, trabajo de, estudio en, me llamo,
mi nombre es, me mude a, nos mudamos a, nos hemos mudado, anos de edad, tengo anos,
hemos decidido, decidimos, he decidido, no como carne, no bebo, llamame, j'aime, j'adore,
je n'aime pas, j'aime pas, je deteste, je prefere, je hais, je suis allergique,
je suis vegetarien, je suis vegetarienne, je suis vegan, je suis marie, je suis mariee,
je suis divorce, je suis divorcee, je suis enceinte, je suis ne, je suis nee, je viens de,
j'habite, nous habitons, je vis a, je vis en, je travaille, j'etudie, je m'appelle, mon nom est,
j'ai demenage, nous avons demenage, on a demenage, j'ai decide, nous avons decide, on a decide,
je suis un, je suis une, je ne mange pas, je ne bois pas, je joue, j'apprends, appelle-moi,
mi piace, mi piacciono, non mi piace, non mi piacciono, adoro, preferisco, sono allergico,
sono allergica, sono vegetariano, sono vegetariana, sono vegano, sono vegana, sono sposato,
sono sposata, sono incinta, sono nato, sono nata, vengo da, vivo a, vivo in, abito a, abito in,
lavoro a, lavoro come, lavoro in, lavoro per, studio a, mi chiamo, il mio nome e,
mi sono trasferito, mi sono trasferita, ci siamo trasferiti, abbiamo deciso, ho deciso, ho anni,
non mangio, non bevo, chiamami, sono di, sono un, sono una, gosto de, eu gosto, nao gosto, odeio,
prefiro, sou alergico, sou alergica, sou vegetariano, sou vegetariana, sou vegano, sou vegana,
sou casado, sou casada, estou gravida, nasci em, nasci no, moro em, moro no, moro na, vivo em,
trabalho em, trabalho como, trabalho no, trabalho na, estudo em, chamo-me, me chamo, meu nome e,
o meu nome e, mudei para, mudei-me para, nos mudamos para, mudamos para, anos de idade, decidi,
sou de, sou do, sou da, sou um, sou uma, nao como, nao bebo, me chame, ik hou van, ik houd van,
ik hou niet van, ik vind het leuk, ik haat, ik geef de voorkeur, ik ben allergisch,
ik ben vegetarier, ik ben veganist, ik ben getrouwd, ik ben gescheiden, ik ben zwanger,
ik ben geboren, ik kom uit, ik woon, ik werk, ik studeer, ik heet, mijn naam is, ik ben verhuisd,
we zijn verhuisd, wij zijn verhuisd, jaar oud, we hebben besloten, wij hebben besloten,
ik heb besloten, ik ben een, ik eet geen, ik drink geen, noem me, ik speel
"""

# What has happened to the speaker.
EVENTS = """
i went, i got, i had, i made, i took, i started, i finished, i saw, i met, i visited, i won,
i lost, i joined, i signed up, i held, i found, i tried, i attended, i learned, i received,
i applied, i wrote, i read, i watched, i played, i volunteered, i've been, i've started,
i've tried, i've made, i've got, we went, we got, we had, we made, we took, we started,
we finished, we saw, we met, we visited, we won, we lost, we held, we found, we tried, we bought,
we've been, we've started, ich war, ich ging, ich bin gestern, ich habe angefangen,
ich habe begonnen, ich habe gekauft, ich habe gestern, ich habe heute, wir waren,
wir haben gestern, wir haben gekauft, wir sind nach, fui a, fui al, fuimos a, fuimos al,
compramos, empece, empezamos, gane, perdi, conoci, visitamos, hice, hicimos, estuve, estuvimos,
he estado, he empezado, he comprado, hemos estado, hemos comprado, je suis alle, je suis allee,
nous sommes alles, on est alles, j'ai achete, j'ai commence, j'ai fini, j'ai vu, j'ai rencontre,
j'ai visite, j'ai gagne, j'ai perdu, j'ai fait, j'ai recu, j'ai trouve, j'ai essaye,
nous avons achete, on a achete, on a fait, sono andato, sono andata, siamo andati, ho comprato,
ho iniziato, ho finito, ho visto, ho incontrato, ho visitato, ho vinto, ho perso, ho fatto,
ho ricevuto, ho trovato, ho provato, abbiamo comprato, abbiamo fatto, abbiamo visto, fui para,
fomos a, fomos ao, fomos para, comprei, comecei, terminei, ganhei, conheci, visitei, fiz, fizemos,
estive, estivemos, encontrei, recebi, ik ging, ik was, ik heb gekocht, ik ben begonnen,
ik heb gisteren, ik ben naar, we gingen, we waren, wij waren, we hebben gekocht, we zijn naar
"""

# A time that the speaker tells something of.
TIMES = """
yesterday, the other day, last night, last week, last weekend, last month, last year, last spring,
last summer, last fall, last autumn, last winter, last monday, last tuesday, last wednesday,
last thursday, last friday, last saturday, last sunday, next week, next weekend, next month,
next year, next spring, next summer, next fall, next autumn, next winter, ago, gestern,
vorgestern, letzte woche, letzten monat, letztes jahr, letzten sommer, letzten winter,
letztes wochenende, nachste woche, nachsten monat, nachstes jahr, ayer, anoche, anteayer,
semana pasada, mes pasado, ano pasado, verano pasado, proxima semana, proximo mes, proximo ano,
hier soir, avant-hier, semaine derniere, mois dernier, annee derniere, l'annee derniere,
ete dernier, l'ete dernier, semaine prochaine, mois prochain, annee prochaine, ieri, l'altro ieri,
settimana scorsa, mese scorso, anno scorso, l'anno scorso, estate scorsa, l'estate scorsa,
settimana prossima, mese prossimo, anno prossimo, ontem, anteontem, semana passada, mes passado,
ano passado, verao passado, mes que vem, ano que vem, gisteren, eergisteren, vorige week,
vorige maand, vorig jaar, afgelopen zomer, volgende week, volgende maand, volgend jaar
"""

# After a fact these make it small talk: "I like it", "I'm a bit tired".
IDLE = """
it, that, this, these, those, you, your, how, when, bit, little, tad, lot, fan, das, es, dich,
dein, deine, bisschen, wenig, eso, esto, tu, poco, ca, cela, toi, ton, ta, peu, questo, quello,
isso, isto, pouco, dat, dit, het, jou, beetje
"""

# A clause may begin with these and be a request all the same.
OPENERS = """
please, and, also, but, so, ok, okay, yes, well, hey, btw, then, bitte, und, auch, aber, favor, y,
pero, tambien, et, mais, aussi, plait, e, ma, anche, favore, mas, tambem, en, maar, ook,
alsjeblieft
"""

# "Could you remember that".
ASKING = "can, could, will, would"

OWN = """
my, our, mein, meine, meinen, meinem, meiner, meines, unser, unsere, unseren, unserer, mi, mis,
nuestro, nuestra, nuestros, nuestras, mon, ma, mes, notre, nos, mio, mia, miei, mie, nostro,
nostra, meu, minha, meus, minhas, nosso, nossa, mijn, onze, ons
"""

# What is said about these is about the speaker's life.
RELATIONS = """
wife, husband, partner, girlfriend, boyfriend, fiance, fiancee, daughter, son, kid, kids, child,
children, baby, mother, mom, mum, father, dad, parents, sister, brother, twin, grandmother,
grandma, grandfather, grandpa, granddaughter, grandson, aunt, uncle, niece, nephew, cousin,
family, dog, cat, pet, puppy, kitten, horse, friend, roommate, neighbor, neighbour, boss, manager,
colleague, doctor, dentist, therapist, landlord, lawyer, teacher, birthday, anniversary, wedding,
name, nickname, age, address, email, phone, number, password, pin, code, passport, job, company,
team, salary, budget, account, bank, insurance, car, bike, house, home, apartment, flat, garden,
hometown, school, university, flight, appointment, meeting, deadline, surgery, operation,
medication, allergy, allergies, diet, blood, hobby, hobbies, favorite, favourite, preference,
goal, project, server, editor, ehefrau, frau, ehemann, mann, partnerin, freundin, freund, tochter,
sohn, kind, kinder, mutter, mama, vater, papa, eltern, schwester, bruder, oma, opa, tante, onkel,
nichte, neffe, familie, hund, katze, chef, chefin, kollege, kollegin, arzt, arztin, zahnarzt,
vermieter, geburtstag, hochzeit, hochzeitstag, adresse, telefonnummer, handynummer, passwort,
beruf, firma, gehalt, konto, auto, fahrrad, haus, wohnung, schule, flug, termin, allergie, hobbys,
lieblingsessen, lieblingsfarbe, lieblingsbuch, esposa, mujer, esposo, marido, novia, novio, hija,
hijo, hijas, hijos, madre, padre, padres, hermana, hermano, abuela, abuelo, tia, tio, prima,
primo, sobrina, sobrino, familia, perro, perra, gato, gata, amiga, amigo, jefa, jefe, medico,
cumpleanos, boda, aniversario, nombre, direccion, correo, telefono, contrasena, trabajo, empresa,
sueldo, cuenta, coche, casa, piso, escuela, vuelo, cita, alergia, favorito, favorita, femme, mari,
fille, fils, enfant, enfants, mere, maman, pere, soeur, frere, grand-mere, grand-pere, oncle,
famille, chien, chat, ami, amie, copain, copine, patron, medecin, anniversaire, mariage, nom,
telephone, passe, travail, entreprise, salaire, compte, voiture, maison, appartement, ecole, vol,
rendez-vous, prefere, preferee, moglie, marito, fidanzata, fidanzato, figlia, figlio, figli,
genitori, sorella, fratello, nonna, nonno, zia, zio, cugina, cugino, famiglia, cane, gatto, amico,
amica, capo, compleanno, matrimonio, nome, indirizzo, lavoro, azienda, stipendio, conto, macchina,
appartamento, scuola, volo, appuntamento, preferito, preferita, mae, pai, pais, filha, filho,
filhos, irma, irmao, avo, cao, cachorro, casamento, endereco, telefone, senha, emprego, salario,
conta, carro, apartamento, escola, voo, consulta, preferido, vrouw, man, vriendin, vriend,
dochter, zoon, kinderen, moeder, vader, ouders, zus, broer, oom, hond, kat, baas, dokter,
verjaardag, bruiloft, naam, adres, telefoonnummer, wachtwoord, werk, bedrijf, huis, vlucht,
afspraak, allergieen, lievelings, favoriete
"""

# What follows these is a name, wherever in a sentence and whatever the language has capitals for.
NAMING = """
mr, mrs, ms, miss, dr, prof, professor, herr, herrn, frau, mme, mlle, monsieur, madame, sr, sra,
srta, senor, senora, don, dona, sig, signor, signora, senhor, senhora, meneer, mevrouw, heisst,
heisse, namens, genannt, named, called
"""

# Capitals that are no names.
PLAIN = """
ok, okay, haha, lol, omg, wow, hi, hey, hello, thanks, thank, you, yes, no, please, god, sir,
madam
"""

# Where one of these stands capitals tell nothing, for in German each noun has one.
GERMAN = """
ich, und, ist, nicht, ein, eine, einen, einem, einer, auf, zu, wir, habe, haben, mein, meine,
meinen, meiner, meinem, auch, aber, oder, noch, werden, wurde, sind, bitte, danke, fur, uber,
heute, morgen
"""

# Beside a number they make it a date or an amount.
MEASURES = """
january, february, march, april, may, june, july, august, september, october, november, december,
jan, feb, mar, apr, jun, jul, aug, sep, sept, oct, nov, dec, januar, februar, marz, mai, juni,
juli, oktober, dezember, enero, febrero, marzo, abril, mayo, junio, julio, agosto, septiembre,
octubre, noviembre, diciembre, janvier, fevrier, mars, avril, juin, juillet, aout, septembre,
octobre, novembre, decembre, gennaio, febbraio, aprile, maggio, giugno, luglio, settembre,
ottobre, dicembre, janeiro, fevereiro, marco, maio, junho, julho, setembro, outubro, novembro,
dezembro, januari, februari, maart, mei, augustus, pm, uhr, o'clock, dollars, dollar, euros, euro,
eur, usd, gbp, chf, pounds, percent, prozent, kg, km, miles, meters, metres, mg, ml, cm, room,
zimmer, flight, gate
"""


def listed(table: str) -> frozenset[str]:
    """The entries of a table."""
    return frozenset(" ".join(entry.split()) for entry in table.split(","))


def spellings(phrases: Iterable[str]) -> frozenset[str]:
    """`phrases` as they are also written: "I'm" is "I am" and "Im", "don't" is "do not"."""
    found = set(phrases)
    for short, long in (("i'm ", "i am "), ("i've ", "i have "), ("we're ", "we are ")):
        found |= {phrase.replace(short, long) for phrase in found if phrase.startswith(short)}
    found |= {phrase.replace("can't", "cannot") for phrase in found}
    found |= {phrase.replace("n't", " not") for phrase in found}
    # Only in phrases of several words: "well" and "were" are words of their own.
    return frozenset(found | {phrase.replace("'", "") for phrase in found if " " in phrase})
