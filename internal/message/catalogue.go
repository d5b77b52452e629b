package message

// This file owns the texts, in every language: the one place where a language is added.
//
// In a text {code}, {app}, {about}, {minutes} and {when} stand for what they say. A text message begins with its code, so that it is read in
// the notification, and says to give it to nobody. Texts for SMS use only letters of the GSM alphabet where the language allows: a
// single other letter halves what fits into one segment, and operators pay by the segment.

// texts are the words of one language.
type texts struct {
	speech  string   // the language as gateways for voice know it
	calling []string // calling codes of countries that are written to in it unless a locale says otherwise

	sms      string // code of an application
	smsAbout string // the same, saying what it confirms
	smsEnrol string // code that sets up the authenticator

	subject      string
	subjectEnrol string
	mail         string // paragraph under the code
	mailAbout    string // paragraph that says what it confirms

	say      string // before the digits
	sayEnrol string
	sayAbout string // says what it confirms
	again    string // before their repetition
	end      string

	numberChanged string // text to a number that counts no more
	reset         string // text that the second factor will start anew
	resetSubject  string // the same by mail
	resetMail     string
}

// fallback is the language of who is written to in none of the others.
const fallback = "en"

var catalogue = map[string]texts{
	"en": {
		speech:        "en-US",
		sms:           "{code} is your {app} code. It is good for {minutes} min. Give it to nobody, not even to us.",
		smsAbout:      "{code} is your {app} code for: {about}. It is good for {minutes} min. Give it to nobody.",
		smsEnrol:      "{code} sets up this phone as your authenticator. If you did not ask for it, do nothing, and give it to nobody.",
		subject:       "{code} is your {app} code",
		subjectEnrol:  "{code} sets up your authenticator",
		mail:          "This code is good for {minutes} minutes. Give it to nobody: nobody will ever ask you for it. If you did not try to sign in, somebody may know your password; change it.",
		mailAbout:     "It confirms: {about}",
		say:           "Hello. This is your code for {app}.",
		sayEnrol:      "Hello. This code sets up your authenticator.",
		sayAbout:      "It confirms: {about}.",
		again:         "Once more:",
		end:           "Give this code to nobody. Goodbye.",
		numberChanged: "The phone number of your {app} account was changed, and codes go to the new one. Was it not you? Tell them at once.",
		reset:         "Your second factor at {app} will be reset on {when}. Did you not ask for it? Log in and stop it.",
		resetSubject:  "Your second factor at {app} will be reset",
		resetMail:     "Somebody told {app} that your phone and your recovery codes are lost, and asked for a new start. It begins on {when}: devices, codes and trusted browsers are void then, and your password is enough to set up a new device.\n\nIf it was you, log in after that. If it was not, log in now and stop it, or tell {app}; and change your password.",
	},
	"es": {
		speech: "es-ES", calling: []string{"34", "51", "52", "53", "54", "56", "57", "58", "502", "503", "504", "505", "506", "507", "591", "593", "595", "598"},
		sms:           "{code} es tu clave de {app}. Vale {minutes} min. No la des a nadie, tampoco a nosotros.",
		smsAbout:      "{code} es tu clave de {app} para: {about}. Vale {minutes} min. No la des a nadie.",
		smsEnrol:      "{code} es la clave para usar este teléfono como tu autenticador. Si no la pediste, no hagas nada y no la des a nadie.",
		subject:       "{code} es tu clave de {app}",
		subjectEnrol:  "{code} es la clave para configurar tu autenticador",
		mail:          "Esta clave vale {minutes} minutos. No la des a nadie: nadie te la pedirá nunca. Si no has intentado entrar, puede que alguien conozca tu contraseña; cámbiala.",
		mailAbout:     "Confirma: {about}",
		say:           "Hola. Esta es tu clave de {app}.",
		sayEnrol:      "Hola. Esta clave configura tu autenticador.",
		sayAbout:      "Confirma: {about}.",
		again:         "Otra vez:",
		end:           "No des esta clave a nadie. Adiós.",
		numberChanged: "El teléfono de tu cuenta de {app} ha cambiado y las claves van al nuevo. Si no lo pediste, avisa enseguida.",
		reset:         "Tu segundo factor en {app} se restablece el {when}. Si no lo pediste, entra y cancela el cambio.",
		resetSubject:  "Tu segundo factor en {app} se va a restablecer",
		resetMail:     "Alguien ha dicho a {app} que has perdido el teléfono y las claves de recuperación, y ha pedido empezar de nuevo. Será el {when}: entonces dejarán de valer los dispositivos, las claves y los navegadores de confianza, y bastará tu contraseña para configurar un dispositivo nuevo.\n\nSi has sido tú, entra a partir de entonces. Si no, entra ahora y cancélalo, o avisa a {app}; y cambia la contraseña.",
	},
	"pt": {
		speech: "pt-BR", calling: []string{"55", "244", "258", "351"},
		sms:           "{code} é o seu código {app}. Vale por {minutes} min. Não o dê a ninguém.",
		smsAbout:      "{code} é o seu código {app} para: {about}. Vale por {minutes} min. Não o dê a ninguém.",
		smsEnrol:      "{code} configura este telefone como seu autenticador. Se não o pediu, não faça nada e não o dê a ninguém.",
		subject:       "{code} é o seu código {app}",
		subjectEnrol:  "{code} configura o seu autenticador",
		mail:          "Este código vale por {minutes} minutos. Não o dê a ninguém: nunca ninguém o pedirá. Se não tentou entrar, alguém pode conhecer a sua senha; mude-a.",
		mailAbout:     "Confirma: {about}",
		say:           "Olá. Este é o seu código {app}.",
		sayEnrol:      "Olá. Este código configura o seu autenticador.",
		sayAbout:      "Confirma: {about}.",
		again:         "Mais uma vez:",
		end:           "Não dê este código a ninguém. Até logo.",
		numberChanged: "O telefone da sua conta {app} foi mudado e os códigos vão para o novo. Não foi você? Avise já.",
		reset:         "O seu segundo fator em {app} será redefinido em {when}. Não pediu? Entre e cancele.",
		resetSubject:  "O seu segundo fator em {app} será redefinido",
		resetMail:     "Alguém disse a {app} que o telefone e os códigos de recuperação se perderam e pediu um novo começo. Será em {when}: então os dispositivos, os códigos e os navegadores de confiança deixam de valer, e basta a sua senha para configurar um novo dispositivo.\n\nSe foi você, entre depois dessa data. Se não foi, entre agora e cancele, ou avise {app}; e mude a senha.",
	},
	"fr": {
		speech: "fr-FR", calling: []string{"33", "221", "225", "237", "262"},
		sms:           "{code} est votre code {app}. Il est valable {minutes} min. Ne le donnez à personne, nous compris.",
		smsAbout:      "{code} est votre code {app} pour : {about}. Il est valable {minutes} min. Ne le donnez à personne.",
		smsEnrol:      "{code} configure ce téléphone comme votre authentificateur. Sans demande de votre part, ne faites rien et ne le donnez à personne.",
		subject:       "{code} est votre code {app}",
		subjectEnrol:  "{code} configure votre authentificateur",
		mail:          "Ce code est valable {minutes} minutes. Ne le donnez à personne : personne ne vous le demandera jamais. Si vous n'avez pas essayé de vous connecter, quelqu'un connaît peut-être votre mot de passe ; changez-le.",
		mailAbout:     "Il confirme : {about}",
		say:           "Bonjour. Voici votre code {app}.",
		sayEnrol:      "Bonjour. Ce code configure votre authentificateur.",
		sayAbout:      "Il confirme : {about}.",
		again:         "Encore une fois :",
		end:           "Ne donnez ce code à personne. Au revoir.",
		numberChanged: "Le numéro de votre compte {app} a changé ; les codes vont au nouveau. Ce n'est pas vous ? Prévenez-nous vite.",
		reset:         "Votre second facteur {app} sera réinitialisé le {when}. Ce n'est pas vous ? Connectez-vous et annulez.",
		resetSubject:  "Votre second facteur {app} sera réinitialisé",
		resetMail:     "Quelqu'un a signalé à {app} la perte de votre téléphone et de vos codes de secours, et demandé un nouveau départ. Il aura lieu le {when} : appareils, codes et navigateurs de confiance ne vaudront alors plus, et votre mot de passe suffira pour configurer un nouvel appareil.\n\nSi c'est vous, connectez-vous à partir de cette date. Sinon, connectez-vous maintenant et annulez, ou prévenez {app} ; et changez votre mot de passe.",
	},
	"de": {
		speech: "de-DE", calling: []string{"49", "43", "423"},
		sms:           "{code} ist Ihr Code für {app}. Er gilt {minutes} Min. Geben Sie ihn niemandem, auch uns nicht.",
		smsAbout:      "{code} ist Ihr Code für {app}: {about}. Er gilt {minutes} Min. Geben Sie ihn niemandem.",
		smsEnrol:      "{code} richtet dieses Telefon als Ihren Authenticator ein. Nicht von Ihnen angefordert? Tun Sie nichts, und geben Sie ihn niemandem.",
		subject:       "{code} ist Ihr Code für {app}",
		subjectEnrol:  "{code} richtet Ihren Authenticator ein",
		mail:          "Der Code gilt {minutes} Minuten. Geben Sie ihn niemandem: Niemand wird Sie je danach fragen. Wenn Sie sich nicht anmelden wollten, kennt vielleicht jemand Ihr Passwort; ändern Sie es.",
		mailAbout:     "Er bestätigt: {about}",
		say:           "Guten Tag. Das ist Ihr Code für {app}.",
		sayEnrol:      "Guten Tag. Dieser Code richtet Ihren Authenticator ein.",
		sayAbout:      "Er bestätigt: {about}.",
		again:         "Noch einmal:",
		end:           "Geben Sie diesen Code niemandem. Auf Wiederhören.",
		numberChanged: "Die Telefonnummer Ihres Kontos bei {app} wurde geändert; Codes gehen an die neue. Das waren nicht Sie? Melden Sie es sofort.",
		reset:         "Ihr zweiter Faktor bei {app} wird am {when} zurückgesetzt. Das waren nicht Sie? Melden Sie sich an und stoppen Sie es.",
		resetSubject:  "Ihr zweiter Faktor bei {app} wird zurückgesetzt",
		resetMail:     "Jemand hat {app} gemeldet, dass Ihr Telefon und Ihre Wiederherstellungscodes verloren sind, und um einen Neuanfang gebeten. Er beginnt am {when}: Dann gelten Geräte, Codes und vertraute Browser nicht mehr, und Ihr Passwort genügt, um ein neues Gerät einzurichten.\n\nWaren Sie es, dann melden Sie sich danach an. Wenn nicht, melden Sie sich jetzt an und stoppen Sie es, oder sagen Sie {app} Bescheid; und ändern Sie Ihr Passwort.",
	},
	"it": {
		speech: "it-IT", calling: []string{"39", "378"},
		sms:           "{code} è il tuo codice {app}. Vale {minutes} min. Non darlo a nessuno, neanche a noi.",
		smsAbout:      "{code} è il tuo codice {app} per: {about}. Vale {minutes} min. Non darlo a nessuno.",
		smsEnrol:      "{code} imposta questo telefono come tuo autenticatore. Se non l'hai chiesto, non fare nulla e non darlo a nessuno.",
		subject:       "{code} è il tuo codice {app}",
		subjectEnrol:  "{code} imposta il tuo autenticatore",
		mail:          "Questo codice vale {minutes} minuti. Non darlo a nessuno: nessuno te lo chiederà mai. Se non hai provato ad accedere, qualcuno potrebbe conoscere la tua password; cambiala.",
		mailAbout:     "Conferma: {about}",
		say:           "Salve. Questo è il tuo codice {app}.",
		sayEnrol:      "Salve. Questo codice imposta il tuo autenticatore.",
		sayAbout:      "Conferma: {about}.",
		again:         "Ancora una volta:",
		end:           "Non dare questo codice a nessuno. Arrivederci.",
		numberChanged: "Il numero del tuo account {app} è cambiato; i codici vanno al nuovo. Non sei stato tu? Avvisa subito.",
		reset:         "Il tuo secondo fattore {app} sarà reimpostato il {when}. Non l'hai chiesto? Accedi e annulla.",
		resetSubject:  "Il tuo secondo fattore {app} sarà reimpostato",
		resetMail:     "Qualcuno ha detto a {app} che il telefono e i codici di recupero sono andati persi e ha chiesto di ricominciare. Succederà il {when}: da allora dispositivi, codici e browser attendibili non valgono più, e basta la tua password per impostare un nuovo dispositivo.\n\nSe sei stato tu, accedi da quella data. Altrimenti accedi ora e annulla, o avvisa {app}; e cambia la password.",
	},
	"nl": {
		speech: "nl-NL", calling: []string{"31", "597"},
		sms:           "{code} is je {app}-code. Hij is {minutes} min geldig. Geef hem aan niemand, ook niet aan ons.",
		smsAbout:      "{code} is je {app}-code voor: {about}. Hij is {minutes} min geldig. Geef hem aan niemand.",
		smsEnrol:      "{code} maakt van deze telefoon je authenticator. Niet door jou gevraagd? Doe niets, en geef hem aan niemand.",
		subject:       "{code} is je {app}-code",
		subjectEnrol:  "{code} stelt je authenticator in",
		mail:          "Deze code is {minutes} minuten geldig. Geef hem aan niemand: niemand zal er ooit om vragen. Heb je niet geprobeerd in te loggen, dan kent iemand misschien je wachtwoord; verander het.",
		mailAbout:     "Hij bevestigt: {about}",
		say:           "Hallo. Dit is je code voor {app}.",
		sayEnrol:      "Hallo. Deze code stelt je authenticator in.",
		sayAbout:      "Hij bevestigt: {about}.",
		again:         "Nog een keer:",
		end:           "Geef deze code aan niemand. Tot ziens.",
		numberChanged: "Het telefoonnummer van je {app}-account is gewijzigd; codes gaan naar het nieuwe. Was jij het niet? Meld het meteen.",
		reset:         "Je tweede factor bij {app} wordt op {when} opnieuw ingesteld. Niet gevraagd? Log in en stop het.",
		resetSubject:  "Je tweede factor bij {app} wordt opnieuw ingesteld",
		resetMail:     "Iemand heeft {app} gemeld dat je telefoon en je herstelcodes kwijt zijn, en om een nieuw begin gevraagd. Dat begint op {when}: dan gelden apparaten, codes en vertrouwde browsers niet meer, en is je wachtwoord genoeg om een nieuw apparaat in te stellen.\n\nWas jij het, log dan daarna in. Zo niet, log nu in en stop het, of waarschuw {app}; en verander je wachtwoord.",
	},
	"pl": {
		speech: "pl-PL", calling: []string{"48"},
		sms:           "{code} to kod do {app} na {minutes} min. Nie podawaj go nikomu, nawet nam.",
		smsAbout:      "{code} to kod do {app}: {about}. Na {minutes} min. Nie podawaj go nikomu.",
		smsEnrol:      "{code} ustawia ten telefon jako Twój autentykator. Jeśli to nie Ty, nie rób nic i nie podawaj go nikomu.",
		subject:       "{code} to kod do {app}",
		subjectEnrol:  "{code} ustawia Twój autentykator",
		mail:          "Ten kod jest ważny {minutes} minut. Nie podawaj go nikomu: nikt nigdy o niego nie zapyta. Jeśli to nie Ty próbujesz się zalogować, ktoś może znać Twoje hasło; zmień je.",
		mailAbout:     "Potwierdza: {about}",
		say:           "Dzień dobry. Oto Twój kod do {app}.",
		sayEnrol:      "Dzień dobry. Ten kod ustawia Twój autentykator.",
		sayAbout:      "Potwierdza: {about}.",
		again:         "Jeszcze raz:",
		end:           "Nie podawaj tego kodu nikomu. Do widzenia.",
		numberChanged: "Numer telefonu konta {app} został zmieniony; kody idą na nowy. To nie Ty? Zgłoś to od razu.",
		reset:         "Drugi składnik w {app} zostanie zresetowany {when}. To nie Ty? Zaloguj się i zatrzymaj to.",
		resetSubject:  "Drugi składnik w {app} zostanie zresetowany",
		resetMail:     "Ktoś zgłosił w {app}, że telefon i kody odzyskiwania przepadły, i poprosił o nowy początek. Nastąpi on {when}: urządzenia, kody i zaufane przeglądarki stracą wtedy ważność, a do ustawienia nowego urządzenia wystarczy hasło.\n\nJeśli to Ty, zaloguj się po tym terminie. Jeśli nie, zaloguj się teraz i zatrzymaj to albo powiadom {app}; i zmień hasło.",
	},
	"tr": {
		speech: "tr-TR", calling: []string{"90"},
		sms:           "{code} {app} kodunuz. Süresi {minutes} dk. Kimseye vermeyin, bize bile.",
		smsAbout:      "{code} {app} kodunuz: {about}. Süresi {minutes} dk. Kimseye vermeyin.",
		smsEnrol:      "{code} bu telefonu kimlik doğrulayıcınız yapar. Siz istemediyseniz bir şey yapmayın ve kodu kimseye vermeyin.",
		subject:       "{code} {app} kodunuz",
		subjectEnrol:  "{code} kimlik doğrulayıcınızı kurar",
		mail:          "Bu kod {minutes} dakika geçerlidir. Kimseye vermeyin: kimse sizden bu kodu istemez. Oturum açmayı siz denemediyseniz biri parolanızı biliyor olabilir; değiştirin.",
		mailAbout:     "Onayladığı işlem: {about}",
		say:           "Merhaba. {app} kodunuz:",
		sayEnrol:      "Merhaba. Bu kod kimlik doğrulayıcınızı kurar.",
		sayAbout:      "Onayladığı işlem: {about}.",
		again:         "Bir kez daha:",
		end:           "Bu kodu kimseye vermeyin. İyi günler.",
		numberChanged: "{app} hesabınızın telefon numarası değişti; kodlar yenisine gidiyor. Siz değilseniz hemen bildirin.",
		reset:         "{app} ikinci adımınız {when} tarihinde sıfırlanacak. Siz istemediyseniz oturum açıp durdurun.",
		resetSubject:  "{app} ikinci adımınız sıfırlanacak",
		resetMail:     "Biri {app} uygulamasına telefonunuzun ve kurtarma kodlarınızın kaybolduğunu bildirip yeni bir başlangıç istedi. Bu {when} tarihinde olacak: o andan sonra cihazlar, kodlar ve güvenilen tarayıcılar geçersiz olur, yeni bir cihaz kurmak için parolanız yeter.\n\nSiz istediyseniz o tarihten sonra oturum açın. İstemediyseniz şimdi oturum açıp durdurun ya da {app} uygulamasına haber verin; parolanızı da değiştirin.",
	},
	"ja": {
		speech: "ja-JP", calling: []string{"81"},
		sms:           "{code} は {app} の確認コードです。有効期限は{minutes}分。誰にも教えないでください。",
		smsAbout:      "{code} は {app} の確認コードです（{about}）。有効期限は{minutes}分。誰にも教えないでください。",
		smsEnrol:      "{code} はこの電話を認証アプリとして登録するコードです。心当たりがなければ何もせず、誰にも教えないでください。",
		subject:       "{code} は {app} の確認コードです",
		subjectEnrol:  "{code} は認証アプリの登録コードです",
		mail:          "このコードは{minutes}分間有効です。誰にも教えないでください。コードを尋ねることは決してありません。ログインに心当たりがない場合は、パスワードが知られているおそれがあります。変更してください。",
		mailAbout:     "確認する内容：{about}",
		say:           "こんにちは。{app} の確認コードをお伝えします。",
		sayEnrol:      "こんにちは。認証アプリの登録コードをお伝えします。",
		sayAbout:      "確認する内容は、{about}。",
		again:         "もう一度お伝えします。",
		end:           "このコードは誰にも教えないでください。失礼いたします。",
		numberChanged: "{app} のアカウントの電話番号が変更されました。コードは新しい番号に届きます。心当たりがなければすぐにご連絡ください。",
		reset:         "{app} の二段階認証は {when} にリセットされます。心当たりがなければログインして中止してください。",
		resetSubject:  "{app} の二段階認証がリセットされます",
		resetMail:     "電話と回復用コードを失ったため最初からやり直したいという申し出が {app} にありました。{when} に、端末、コード、信頼したブラウザーは無効になり、パスワードだけで新しい端末を設定できるようになります。\n\nご本人の場合は、その後にログインしてください。心当たりがない場合は、今すぐログインして中止するか、{app} にご連絡のうえ、パスワードを変更してください。",
	},
}
