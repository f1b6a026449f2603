# ናይ ነፍሲ ወከፍ ገጽ ቅርጺን ክፋላት ቅጥዕታትን።
skip = ናብ ቀንዲ ትሕዝቶ ሕለፍ
languages = ቋንቋ
menu = ዝርዝር
sign-out = ውጻእ
draft-notice = እዚ ጽሑፍ ብማሽን ዝተተርጎመ ኮይኑ ክሳብ ሕጂ ዝረኣዮ ሰብ የለን። ዘይንጹር እንተሎ ናብ እንግሊዝኛ ቀይሮ።
not-for-emergencies = እዚ ንህጹጽ ኩነታት ኣይኮነን። ሰብ ኣብ ሓደጋ እንተሎ ናብ 999 ደውል። ንህጹጽ ሕክምናዊ ምኽሪ ናብ 111 ደውል።
faults-title = ጸገም ኣሎ
fault = ጌጋ፦
optional = (ግድን ኣይኮነን)
yes = እወ
no = ኣይፋል
day = መዓልቲ
month = ወርሒ
year = ዓመት
back = ተመለስ
next-page = ቀጻሊ ገጽ
exit = ካብዚ ገጽ ውጻእ
