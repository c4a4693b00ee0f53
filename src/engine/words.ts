/** The two halves of made-up names. Each adjective is kind, so that no pair insults its bearer. */
export const adjectives =
  `able agile amber ample artful balanced blithe bold brave breezy bright brisk calm candid careful
cheerful clear clever cordial cosmic cozy crisp curious daring deft devoted dreamy eager earnest
easygoing elated elegant eloquent fair faithful fearless festive fluent fond frank friendly gallant
generous gentle genuine gifted gleaming glowing golden graceful grateful happy hardy hearty helpful
honest hopeful humble inventive jolly jovial joyful keen kind lively loyal lucid lucky luminous mellow
merry mindful modest musing neat nimble noble patient peaceful playful pleasant plucky polished polite
proud quick quiet radiant ready relaxed resolute robust rosy serene sharp sincere skilled smiling snug
sparkling spirited splendid spry steady stellar sturdy sunny swift tactful tender thoughtful thrifty
tidy tranquil trusty upbeat valiant vibrant vivid warm wise witty wonderful zealous zesty`.split(
    /\s+/,
  );

/** Surnames of people who measured, proved, computed or built something. */
export const surnames =
  `abel agnesi alhazen ampere anning appleton archimedes aryabhata avogadro babbage backus banneker
bardeen bassi becquerel bell bernoulli bessel bhaskara blackwell bohr boole borlaug bose boyle brahe
brahmagupta brattain brunel buffon cannon cantor carson carver cauchy cavendish cerf chandrasekhar
chatelet chebyshev clarke cochrane codd copernicus cori coulomb crick curie dalton darwin davy dedekind
descartes diophantus dirac dirichlet doppler drew dyson edison elion ellis engelbart eratosthenes
euclid euler faraday fermat fermi feynman fibonacci fleming fourier franklin frege fresnel galilei
galois galvani gauss germain goeppert goldberg gosset hadamard hamilton hamming hawking heaviside
helmholtz henry hermite herschel hertz hilbert hodgkin hooke hopper hubble hugle humboldt hutton
huygens hypatia jackson jacobi jemison jenner johnson joliot jones joule kalam kapitsa kepler khayyam
khorana kilby kirch knuth kolmogorov kovalevsky lagrange lamarr lamport laplace leakey leavitt
legendre leibniz lewin lovelace lumiere lyell mach mahavira marconi margulis maxwell mayer mcclintock
mccarthy meitner mendel mendeleev mercator merian mirzakhani montalcini morse moser napier nash
newcomen newton nightingale nobel noether noyce ohm panini pascal pasteur payne pauling peano perlman
pike planck poincare poisson ptolemy raman ramanujan ride riemann ritchie rontgen rubin rutherford
sagan salk sanderson shannon shirley sinoussi snell snyder somerville stokes swanson swirles tesla
tharp thompson torricelli turing varahamihira vaughan villani volta wallis watt weierstrass weyl
whitehead wiles wilson wing wozniak wright wu yalow yonath young zhukovsky`.split(/\s+/);
