/** Every string of the page in English, German and Chinese; `{x}` is filled in by `say`. */

export const LANGUAGES = ["en", "de", "zh"];

/** @type {Record<string, string[]>} */
export const WORDS = {
  device: ["Research software, not a medical device. No answer of it may guide the care of anybody.", "Forschungssoftware, kein Medizinprodukt. Keine ihrer Antworten darf eine Behandlung leiten.", "研究软件，非医疗器械。其任何结果均不得用于指导诊疗。"],
  private: ["Nothing leaves this device: recordings are read, scored and kept here only.", "Nichts verlässt dieses Gerät: Aufzeichnungen werden nur hier gelesen, bewertet und aufbewahrt.", "任何数据都不会离开本设备：记录仅在此读取、评分和保存。"],
  ready: ["Works without a network from now on.", "Funktioniert ab jetzt ohne Netz.", "现在起无需网络即可使用。"],
  language: ["Language", "Sprache", "语言"],
  theme: ["Appearance", "Darstellung", "外观"],
  theme_auto: ["as the system", "wie das System", "跟随系统"],
  theme_light: ["light", "hell", "浅色"],
  theme_dark: ["dark", "dunkel", "深色"],
  skip: ["To the answer", "Zur Antwort", "跳到结果"],
  loading: ["Loading the model…", "Das Modell wird geladen…", "正在加载模型…"],
  loaded: ["The model is ready.", "Das Modell ist bereit.", "模型已就绪。"],
  subtitle: ["{target}, from lead {lead}", "{target}, aus Ableitung {lead}", "{target}，基于 {lead} 导联"],
  synthetic: ["Synthetic", "Synthetisch", "合成"],
  synthetic_model: ["This model was trained on simulated patients. What it says is no evidence about people.", "Dieses Modell wurde an simulierten Patienten trainiert. Was es sagt, ist kein Beleg über Menschen.", "该模型基于模拟患者训练，其结果不能作为关于真实人群的证据。"],
  watermark: ["SYNTHETIC MODEL", "SYNTHETISCHES MODELL", "合成模型"],
  recording: ["Recording", "Aufzeichnung", "记录"],
  open: ["Open a file", "Datei öffnen", "打开文件"],
  drop: ["or drop one here: Apple Watch, Samsung, Kardia, Fitbit, Withings, Polar, CSV", "oder hier ablegen: Apple Watch, Samsung, Kardia, Fitbit, Withings, Polar, CSV", "或拖放到此处：Apple Watch、三星、Kardia、Fitbit、Withings、Polar、CSV"],
  samples: ["Synthetic samples", "Synthetische Beispiele", "合成示例"],
  sample: ["Sample {n}", "Beispiel {n}", "示例 {n}"],
  strap: ["Connect a Polar H10", "Polar H10 verbinden", "连接 Polar H10"],
  strap_stop: ["Stop recording", "Aufzeichnung beenden", "停止记录"],
  strap_none: ["This browser has no Web Bluetooth; Chrome and Edge have.", "Dieser Browser kann kein Web Bluetooth; Chrome und Edge können es.", "此浏览器不支持 Web 蓝牙；请使用 Chrome 或 Edge。"],
  strap_live: ["Recording from the chest strap: {seconds} s", "Aufzeichnung vom Brustgurt: {seconds} s", "正在从胸带记录：{seconds} 秒"],
  strap_lost: ["The chest strap is no longer connected; what came before is shown.", "Der Brustgurt ist nicht mehr verbunden; gezeigt wird, was bis dahin kam.", "胸带连接已断开；显示此前收到的数据。"],
  strap_failed: ["The chest strap could not be connected: {reason}. Wet its electrodes, wear it, and try again.", "Der Brustgurt ließ sich nicht verbinden: {reason}. Elektroden anfeuchten, anlegen, noch einmal versuchen.", "无法连接胸带：{reason}。请润湿电极、佩戴后重试。"],
  person: ["The person", "Die Person", "受试者"],
  person_why: ["Asked because the model answers only about those it was tested on.", "Gefragt, weil das Modell nur über jene antwortet, an denen es geprüft wurde.", "之所以询问，是因为模型只对其验证过的人群作答。"],
  age: ["Age in years", "Alter in Jahren", "年龄（岁）"],
  age_unknown: ["not known", "nicht bekannt", "未知"],
  paced: ["Pacemaker", "Herzschrittmacher", "心脏起搏器"],
  yes: ["yes", "ja", "有"],
  no: ["no", "nein", "无"],
  unknown: ["not known", "nicht bekannt", "未知"],
  allow: ["Show what the synthetic model says all the same", "Trotzdem zeigen, was das synthetische Modell sagt", "仍然显示合成模型的结果"],
  stated_rate: ["Sampling rate, Hz", "Abtastrate, Hz", "采样率（Hz）"],
  stated_unit: ["Unit", "Einheit", "单位"],
  stated_lead: ["Lead", "Ableitung", "导联"],
  state: ["The file does not state it", "Die Datei gibt es nicht an", "文件未注明"],
  read_again: ["Read the file", "Datei lesen", "读取文件"],
  trace: ["Trace", "Kurve", "心电图"],
  trace_label: ["ECG, {seconds} s, from {from} to {to} s. Left and right arrow keys scroll, plus and minus zoom, Home and End go to the ends.", "EKG, {seconds} s, von {from} bis {to} s. Pfeiltasten links und rechts blättern, Plus und Minus vergrößern und verkleinern, Pos1 und Ende springen an die Enden.", "心电图，共 {seconds} 秒，显示 {from} 至 {to} 秒。左右方向键滚动，加减键缩放，Home 与 End 键跳到两端。"],
  zoom_in: ["Larger", "Größer", "放大"],
  zoom_out: ["Smaller", "Kleiner", "缩小"],
  scale: ["{speed} mm/s, {gain} mm/mV; the small squares are {ms} s and {mv} mV", "{speed} mm/s, {gain} mm/mV; kleine Kästchen: {ms} s und {mv} mV", "{speed} mm/s，{gain} mm/mV；小格为 {ms} 秒、{mv} mV"],
  facts: ["{name}: lead {lead}, {rate} Hz, {seconds} s", "{name}: Ableitung {lead}, {rate} Hz, {seconds} s", "{name}：{lead} 导联，{rate} Hz，{seconds} 秒"],
  beats: ["{rate} beats a minute", "{rate} Schläge pro Minute", "心率 {rate} 次/分"],
  says: ["the device said: {words}", "das Gerät sagte: {words}", "设备判读：{words}"],
  windows: ["Quality of every stretch of {seconds} s", "Qualität jedes Abschnitts von {seconds} s", "每 {seconds} 秒片段的质量"],
  window: ["{from}–{to} s: {verdict}", "{from}–{to} s: {verdict}", "{from}–{to} 秒：{verdict}"],
  good: ["used, quality {score} of 1", "verwendet, Qualität {score} von 1", "采用，质量 {score}（满分 1）"],
  refused: ["not used: {reason}", "nicht verwendet: {reason}", "未采用：{reason}"],
  inverted: ["The recording seems upside down: the device may have been held the wrong way round.", "Die Aufzeichnung scheint auf dem Kopf zu stehen: vielleicht wurde das Gerät verkehrt gehalten.", "记录似乎上下颠倒：设备可能拿反了。"],
  "reason_short": ["too short", "zu kurz", "时间过短"],
  "reason_missing": ["samples are missing", "Werte fehlen", "数据缺失"],
  "reason_flat": ["flat line", "Nulllinie", "平直线"],
  "reason_clipped": ["cut off at the device's limit", "an der Grenze des Geräts abgeschnitten", "信号削顶"],
  "reason_lead off": ["an electrode had no contact", "eine Elektrode hatte keinen Kontakt", "电极脱落"],
  "reason_noise": ["noise", "Rauschen", "噪声"],
  answer: ["Answer", "Antwort", "结果"],
  working: ["Scoring…", "Wird bewertet…", "正在评分…"],
  ask_first: ["Answer the questions about the person; then the score is shown.", "Bitte die Fragen zur Person beantworten; dann wird die Bewertung gezeigt.", "请先回答关于受试者的问题，随后显示评分。"],
  abstains: ["No score", "Keine Bewertung", "不予评分"],
  why_young: ["The model was made for people aged {age} and over.", "Das Modell ist für Menschen ab {age} Jahren gemacht.", "该模型适用于 {age} 岁及以上人群。"],
  why_paced: ["The model was not made for paced rhythms.", "Das Modell ist nicht für Schrittmacherrhythmen gemacht.", "该模型不适用于起搏心律。"],
  why_lead: ["The model reads lead {needed}; this recording is of “{lead}”. A chest strap is not lead I. The trace is shown only.", "Das Modell liest Ableitung {needed}; diese Aufzeichnung ist „{lead}“. Ein Brustgurt ist nicht Ableitung I. Nur die Kurve wird gezeigt.", "该模型读取 {needed} 导联；此记录为“{lead}”。胸带不等于 I 导联。仅显示波形。"],
  why_unstated: ["The model reads lead {needed}; the file does not state its lead. State it above.", "Das Modell liest Ableitung {needed}; die Datei gibt ihre nicht an. Bitte oben angeben.", "该模型读取 {needed} 导联；文件未注明导联。请在上方注明。"],
  why_quality: ["No stretch of {seconds} s can be judged: {reasons}. Record again at rest, with the arms supported.", "Kein Abschnitt von {seconds} s ist beurteilbar: {reasons}. Bitte in Ruhe und mit aufgelegten Armen neu aufzeichnen.", "没有可判读的 {seconds} 秒片段：{reasons}。请在静息、手臂有支撑时重新记录。"],
  why_synthetic: ["A model of simulated patients does not score a person's recording. Take a synthetic sample, or tick the box above.", "Ein Modell simulierter Patienten bewertet keine Aufzeichnung eines Menschen. Bitte ein synthetisches Beispiel nehmen oder oben ankreuzen.", "由模拟患者训练的模型不对真人记录评分。请使用合成示例，或勾选上方选项。"],
  risk: ["Of 100 recordings with a score like this, {risk} ({low} to {high}) had {target}, {where}.", "Von 100 Aufzeichnungen mit einer solchen Bewertung hatten {risk} ({low} bis {high}) {target}, {where}.", "在评分相近的 100 份记录中，{risk} 份（{low} 至 {high}）为 {target}，{where}。"],
  tested: ["in the tested hospital", "im geprüften Krankenhaus", "来自验证医院"],
  simulated: ["in the simulated hospital", "im simulierten Krankenhaus", "来自模拟医院"],
  group: ["95 % interval; this group of the score holds {n} tested recordings.", "95-%-Intervall; diese Gruppe der Bewertung umfasst {n} geprüfte Aufzeichnungen.", "95% 区间；该评分组含 {n} 份验证记录。"],
  no_group: ["No calibrated risk: too few tested recordings had a score like this.", "Kein kalibriertes Risiko: zu wenige geprüfte Aufzeichnungen hatten eine solche Bewertung.", "无校准风险：评分相近的验证记录过少。"],
  above: ["The score lies above the operating point.", "Die Bewertung liegt über dem Arbeitspunkt.", "评分高于工作点。"],
  below: ["The score lies below the operating point. That does not rule it out.", "Die Bewertung liegt unter dem Arbeitspunkt. Das schließt es nicht aus.", "评分低于工作点，但不能据此排除。"],
  point: ["At this point {sensitivity} of 100 recordings with {target} were above, and {specificity} of 100 without were below.", "An diesem Punkt lagen {sensitivity} von 100 Aufzeichnungen mit {target} darüber und {specificity} von 100 ohne darunter.", "在该工作点，100 份{target}的记录中有{sensitivity}份高于它，100 份非{target}的记录中有{specificity}份低于它。"],
  npv: ["Of 100 recordings below it {npv} did not have it; of 100 taken blindly {trivial} did not.", "Von 100 Aufzeichnungen darunter hatten es {npv} nicht; von 100 blind gewählten {trivial} nicht.", "低于该点的 100 份记录中{npv}份为阴性；随机抽取的 100 份中 {trivial} 份为阴性。"],
  range: ["{value} ({low} to {high})", "{value} ({low} bis {high})", "{value}（{low} 至 {high}）"],
  not_checked: ["Not checked, because not known: {names}.", "Nicht geprüft, weil nicht bekannt: {names}.", "因未知而未核查：{names}。"],
  used: ["{used} of {all} stretches were used. Score {score} on a scale from 0 to 1.", "{used} von {all} Abschnitten wurden verwendet. Bewertung {score} auf einer Skala von 0 bis 1.", "采用 {all} 个片段中的 {used} 个。评分 {score}（0 至 1）。"],
  raises: ["What the score rests on", "Worauf die Bewertung beruht", "评分依据"],
  explain: ["Work out the contribution of every wave", "Beitrag jeder Welle berechnen", "计算各波的贡献"],
  explaining: ["Working out: {done} of {all}", "Berechnung: {done} von {all}", "计算中：{done}/{all}"],
  cancel: ["Cancel", "Abbrechen", "取消"],
  cancelled: ["Cancelled.", "Abgebrochen.", "已取消。"],
  bars: ["Contributions in logits (Shapley values) over {baseline}, of the stretch from {from} to {to} s. To the right, orange: raises the score. To the left, blue: lowers it.", "Beiträge in Logits (Shapley-Werte) gegenüber {baseline}, im Abschnitt von {from} bis {to} s. Nach rechts, orange: erhöht die Bewertung. Nach links, blau: senkt sie.", "{from} 至 {to} 秒片段相对于{baseline}的贡献（logit，Shapley 值）。向右橙色：升高评分；向左蓝色：降低评分。"],
  isoelectric: ["the isoelectric line", "der isoelektrischen Linie", "等电位线"],
  timing: ["timing of the beats", "Zeitpunkte der Schläge", "心搏时序"],
  keep: ["Keep this answer", "Diese Antwort aufbewahren", "保存此结果"],
  kept: ["Kept on this device.", "Auf diesem Gerät aufbewahrt.", "已保存在本设备。"],
  print: ["Print or save as PDF", "Drucken oder als PDF sichern", "打印或另存为 PDF"],
  history: ["Kept answers", "Aufbewahrte Antworten", "已保存的结果"],
  history_none: ["None. Answers are kept only when asked for, and only on this device.", "Keine. Antworten werden nur auf Wunsch und nur auf diesem Gerät aufbewahrt.", "暂无。仅在您要求时保存，且只保存在本设备。"],
  history_export: ["Export as a file", "Als Datei ausgeben", "导出为文件"],
  history_erase: ["Erase all", "Alle löschen", "全部删除"],
  history_sure: ["Erase all kept answers from this device? They cannot be brought back.", "Alle aufbewahrten Antworten von diesem Gerät löschen? Sie lassen sich nicht wiederherstellen.", "从本设备删除所有已保存的结果？此操作无法撤销。"],
  erased: ["Erased.", "Gelöscht.", "已删除。"],
  when: ["When", "Wann", "时间"],
  file: ["Recording", "Aufzeichnung", "记录"],
  said: ["Answer", "Antwort", "结果"],
  in_hundred: ["{risk} ({low} to {high}) of 100", "{risk} ({low} bis {high}) von 100", "每 100 份 {risk}（{low} 至 {high}）"],
  about: ["The model", "Das Modell", "模型"],
  about_target: ["What it screens for", "Wonach es sucht", "筛查目标"],
  about_origin: ["Trained and tested on", "Trainiert und geprüft an", "训练与验证数据"],
  origin_real: ["records of real subjects", "Aufzeichnungen echter Personen", "真实受试者记录"],
  origin_synthetic: ["simulated patients (synthetic)", "simulierten Patienten (synthetisch)", "模拟患者（合成）"],
  about_use: ["Whom it may be asked about", "Für wen es gedacht ist", "适用人群"],
  use: ["people aged {age} and over, lead {lead}", "Menschen ab {age} Jahren, Ableitung {lead}", "{age} 岁及以上，{lead} 导联"],
  use_unpaced: ["people aged {age} and over without a pacemaker, lead {lead}", "Menschen ab {age} Jahren ohne Schrittmacher, Ableitung {lead}", "{age} 岁及以上、无起搏器，{lead} 导联"],
  about_point: ["Operating point", "Arbeitspunkt", "工作点"],
  about_limits: ["Limits", "Grenzen", "局限"],
  about_hash: ["Fingerprint", "Fingerabdruck", "指纹"],
  error: ["That did not work", "Das ging nicht", "操作未成功"],
  error_model: ["The model could not be loaded: {reason}", "Das Modell konnte nicht geladen werden: {reason}", "无法加载模型：{reason}"],
  quantity_potassium: ["potassium", "Kalium", "血钾"],
  printed: ["Printed {when}", "Gedruckt {when}", "打印于 {when}"],
  first_shown: ["The first {seconds} s are shown.", "Gezeigt werden die ersten {seconds} s.", "显示前 {seconds} 秒。"],
};

let place = 0;

/** Chooses the language, "en" where it is not one of the three; returns which it is. @param {string} language */
export function speak(language) {
  place = Math.max(0, LANGUAGES.indexOf(String(language).slice(0, 2)));
  return LANGUAGES[place];
}

/** The string of a key in the chosen language, with `{name}` filled in.
 * @param {string} key @param {Record<string, any>} values What is said of each; any can be. */
export function say(key, values = {}) {
  const words = WORDS[key];
  if (!words) throw new Error(`no words for ${key}`);
  return words[place].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** The person's own kind of the chosen language, such as British English. */
function locale() {
  return globalThis.navigator?.languages?.find((one) => one.startsWith(LANGUAGES[place])) ?? LANGUAGES[place];
}

/** A number in the chosen language; `options` as of Intl.NumberFormat.
 * @param {number} value @param {number} digits @param {Intl.NumberFormatOptions} options */
export function number(value, digits = 0, options = {}) {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: digits, ...options }).format(value);
}

/** What a model screens for, with the name of the quantity in the chosen language where that is known.
 * @param {string} target */
export function targetWords(target) {
  const [, name, rest] = /^(\w+)(.*)$/.exec(target) ?? [];
  return name && `quantity_${name}` in WORDS ? `${say(`quantity_${name}`)}${rest}` : target;
}

/** A share and its interval as counts of 100: whole from 10 to 90, with a decimal nearer to the ends, where it matters.
 * @param {number | null} value @param {(number | null)[]} interval */
export function ofHundred(value, ...interval) {
  const digits = Number(value) >= 0.0995 && Number(value) <= 0.9005 ? 0 : 1;
  return [value, ...interval].map((share) => (share === null ? say("unknown") : number(100 * share, digits)));
}

/** A date and time in the chosen language. @param {Date} date */
export function moment(date) {
  return new Intl.DateTimeFormat(locale(), { dateStyle: "medium", timeStyle: "short" }).format(date);
}

/** Fills in all elements under `root` that name their words. */
export function fill(root = document) {
  /** @param {string} named @returns {NodeListOf<HTMLElement>} */
  const all = (named) => root.querySelectorAll(named);
  for (const element of all("[data-word]")) element.textContent = say(String(element.dataset.word));
  for (const element of all("[data-label]")) element.setAttribute("aria-label", say(String(element.dataset.label)));
}
